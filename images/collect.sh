#!/bin/sh
# Collects what the image of a workload holds into /roots/WORKLOAD. Runs in the stage `roots` of the Dockerfile for each line of `workloads`.
#
# usage: collect.sh WORKLOAD [LIBRARY...]      LIBRARY: a file of /programs that the program loads by its path
#
# The shared libraries are those that the dynamic linker names for the program and its LIBRARY files; one that is missing is an error here
# and not at the first start. glibc 2.34 and later look up host names by themselves, so no other library is loaded by name.
set -eu

workload=$1
shift
root=/roots/$workload
program=/usr/bin/medindex-$workload
mkdir -p "$root/usr/bin" "$root/etc/ssl/certs" "$root/etc/medindex" "$root/data" "$root/model" "$root/tmp"
cp "/programs/medindex-$workload" "$root$program"
files=$root$program
for library in "$@"; do
    mkdir -p "$root/usr/lib/medindex"
    cp "/programs/$library" "$root/usr/lib/medindex/"
    files="$files $root/usr/lib/medindex/$library"
done

# shellcheck disable=SC2086  # a list of files
needed=$(ldd $files)
if printf '%s\n' "$needed" | grep 'not found' >&2; then
    echo "collect: $workload needs the libraries above; install their packages in the stage \`roots\`" >&2
    exit 1
fi
printf '%s\n' "$needed" | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/lib[^ ]*\) (.*/\1/p' | sort -u |
    while read -r library; do cp --dereference --parents "$library" "$root"; done

cp --dereference /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
# Where OpenSSL, which Kafka's client uses, looks for authorities when no setting names them.
mkdir -p "$root/usr/lib/ssl"
ln -s /etc/ssl/certs/ca-certificates.crt "$root/usr/lib/ssl/cert.pem"
# Without a name for its number some programs and libraries complain.
echo 'medindex:x:65532:65532::/data:/sbin/nologin' >"$root/etc/passwd"
echo 'medindex:x:65532:' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"
# Places for volumes. Their mode survives the copy into the image, an owner may not.
chmod 1777 "$root/data" "$root/tmp"
