# Part of e2e/cluster.sh: the cluster's authority, certificates and the settings files of its clients.
# shellcheck shell=bash

DAYS=30

make_authority() {
    mkdir -p "$STATE/pki"
    chmod 700 "$STATE/pki"
    local pki=$STATE/pki
    quietly openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days $DAYS -subj /CN=medindex-e2e \
        -keyout "$pki/ca.key" -out "$pki/ca.crt"
    quietly openssl genrsa -out "$pki/service-accounts.key" 2048
    make_client apiserver /CN=kube-apiserver \
        "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,IP:127.0.0.1,IP:$ADDRESS,IP:${SERVICES%.0.0/16}.0.1"
    make_client admin /O=system:masters/CN=admin
    make_client controllers /CN=system:kube-controller-manager
    make_client scheduler /CN=system:kube-scheduler
    make_client proxy /CN=system:kube-proxy
}

# make_client NAME SUBJECT [NAMES]: a certificate and a settings file.
make_client() {
    local name=$1 subject=$2 names=${3:-DNS:$1} file=$STATE/pki/$1
    quietly openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "$subject" -keyout "$file.key" -out "$file.csr"
    quietly openssl x509 -req -in "$file.csr" -CA "$STATE/pki/ca.crt" -CAkey "$STATE/pki/ca.key" -CAcreateserial -days $DAYS \
        -extfile <(printf 'subjectAltName=%s' "$names") -out "$file.crt"
    cat >"$file.conf" <<EOF
apiVersion: v1
kind: Config
current-context: e2e
contexts: [{name: e2e, context: {cluster: e2e, user: $name}}]
clusters: [{name: e2e, cluster: {server: "https://$ADDRESS:6443", certificate-authority-data: $(base64 -w0 "$STATE/pki/ca.crt")}}]
users: [{name: $name, user: {client-certificate-data: $(base64 -w0 "$file.crt"), client-key-data: $(base64 -w0 "$file.key")}}]
EOF
    chmod 600 "$file.key" "$file.conf"
}

quietly() {
    local output
    output=$("$@" 2>&1) || fail "this failed: $*: $output"
}
