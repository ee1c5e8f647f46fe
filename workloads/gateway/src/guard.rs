//! Which requests are let in at all: protection of a server without accounts against web sites in the same browser.
//!
//! - DNS rebinding: on a loopback address the `Host` must be a loopback name or one of the allowed names.
//! - Cross-site requests: what changes or reads something by another method than GET must not come from another
//!   site. Browsers tell by `Sec-Fetch-Site` or `Origin`; programs send neither and pass.

use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};
use std::net::IpAddr;

use crate::problem::{Problem, ProblemKind};
use crate::settings::GatewaySettings;

/// Refuses a request that is addressed to another host or comes from another site.
pub(crate) fn check(settings: &GatewaySettings, request: &Request) -> Result<(), Problem> {
    // Which of several counts would be a guess, and a proxy in front may guess otherwise (RFC 9112, 3.2).
    if request.headers().get_all(header::HOST).iter().count() > 1 {
        return Err(Problem::bad_request("the request has more than one Host header"));
    }
    let host = requested_host(request);
    check_host(settings, host)?;
    if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return Ok(());
    }
    check_site(request.headers(), host)
}

/// Host and port as the client named them.
fn requested_host(request: &Request) -> Option<&str> {
    request
        .uri()
        .authority()
        .map(axum::http::uri::Authority::as_str)
        .or_else(|| request.headers().get(header::HOST).and_then(|host| host.to_str().ok()))
}

fn check_host(settings: &GatewaySettings, host: Option<&str>) -> Result<(), Problem> {
    let local_only = settings.listen.ip().is_loopback();
    if !local_only && settings.allowed_hosts.is_empty() {
        return Ok(());
    }
    let Some(host) = host else {
        return Err(Problem::bad_request("the request has no Host header"));
    };
    let name = without_port(host);
    let allowed = settings.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
    if allowed || is_loopback(name) {
        return Ok(());
    }
    Err(Problem::new(
        ProblemKind::WrongHost,
        format!(
            "the host {name:?} is not served here; use 127.0.0.1 or localhost, or allow the name in the settings"
        ),
    ))
}

fn without_port(host: &str) -> &str {
    if let Some(bracketed) = host.strip_prefix('[') {
        return bracketed.split(']').next().unwrap_or_default();
    }
    host.rsplit_once(':').map_or(host, |(name, _)| name)
}

fn is_loopback(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn check_site(headers: &HeaderMap, host: Option<&str>) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("unreadable"));
    let same = match (text("sec-fetch-site"), text("origin")) {
        (Some(site), _) => matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => origin.split_once("://").is_some_and(|(_, origin)| Some(origin) == host),
        (None, None) => true,
    };
    if same {
        return Ok(());
    }
    Err(Problem::new(
        ProblemKind::CrossSite,
        "a web page of another site sent this request; only this site's page may",
    ))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn request(method: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::builder().method(method).uri("/api/v1/images");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(Body::empty()).unwrap()
    }

    #[test]
    fn several_hosts_are_refused_also_where_one_is_allowed() {
        let twice = [("host", "localhost:8080"), ("host", "evil.example")];
        assert_eq!(verdict("GET", &twice), Some(ProblemKind::BadRequest));
    }

    fn verdict(method: &str, headers: &[(&str, &str)]) -> Option<ProblemKind> {
        check(&GatewaySettings::default(), &request(method, headers)).err().map(|problem| problem.kind())
    }

    #[test]
    fn loopback_names_pass_and_others_do_not() {
        for host in
            ["127.0.0.1:8080", "localhost", "LOCALHOST:8080", "[::1]:8080", "app.localhost", "127.1.2.3"]
        {
            assert_eq!(verdict("GET", &[("host", host)]), None, "{host}");
        }
        for host in ["rebind.example:8080", "10.0.0.1", "localhost.example", "", "[::2]:8080"] {
            assert_eq!(verdict("GET", &[("host", host)]), Some(ProblemKind::WrongHost), "{host}");
        }
        assert_eq!(verdict("GET", &[]), Some(ProblemKind::BadRequest));
    }

    #[test]
    fn other_sites_may_not_post() {
        let host = ("host", "localhost:8080");
        assert_eq!(verdict("POST", &[host]), None);
        assert_eq!(verdict("POST", &[host, ("origin", "http://localhost:8080")]), None);
        assert_eq!(verdict("POST", &[host, ("sec-fetch-site", "same-origin")]), None);
        for other in [("origin", "http://localhost:9"), ("origin", "null"), ("sec-fetch-site", "same-site")] {
            assert_eq!(verdict("POST", &[host, other]), Some(ProblemKind::CrossSite), "{other:?}");
        }
    }

    #[test]
    fn on_other_addresses_the_allowed_names_count() {
        let mut settings =
            GatewaySettings { listen: ([0, 0, 0, 0], 80).into(), ..GatewaySettings::default() };
        let asked = request("GET", &[("host", "pacs.example")]);
        assert!(check(&settings, &asked).is_ok());
        settings.allowed_hosts = vec!["other.example".to_owned()];
        assert!(check(&settings, &asked).is_err());
        settings.allowed_hosts.push("PACS.example".to_owned());
        assert!(check(&settings, &asked).is_ok());
    }
}
