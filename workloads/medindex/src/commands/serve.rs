//! `medindex serve`: the HTTP API and the search page over a data folder.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use clap::Args;
use medindex_gateway::{GatewaySettings, ServeError, listen};
use serde::Serialize;

use super::{Context, to_json};
use crate::failure::{Code, Failure, describe_io};
use crate::local::Local;
use crate::signals::StopSignals;

/// Serve the search page and the HTTP API until Ctrl-C or SIGTERM.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Address to listen on; there are no accounts, so open it to others with care.
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port to listen on; 0 for any free one.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    /// Host name that browsers may use beside the loopback ones; may come several times.
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// Requests with a file that are read and worked on at the same time; more are sent away for a moment with 503.
    #[arg(long, value_name = "N", default_value_t = GatewaySettings::CONCURRENT_UPLOADS, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    concurrent_uploads: u16,
}

#[derive(Serialize)]
struct Ready {
    url: String,
    data: String,
    model: String,
    images: u64,
}

pub(crate) async fn run(context: &Context, asked: &ServeArguments) -> Result<(), Failure> {
    if context.options.server.is_some() {
        return Err(Failure::usage(
            "serve opens the data folder itself: leave --server (MEDINDEX_SERVER) out",
        ));
    }
    let settings = GatewaySettings {
        listen: SocketAddr::new(asked.host, asked.port),
        allowed_hosts: asked.allow_host.clone(),
        concurrent_uploads: usize::from(asked.concurrent_uploads),
        ..GatewaySettings::default()
    };
    // Before anything is opened, so that a start that takes long can be ended as well as a server can.
    let mut signals = StopSignals::listen()?;
    // The port first: a taken one is known before the folder is opened.
    let listener = listen(&settings).await.map_err(|error| listening_failed(&error))?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::caused_by(Code::Other, "cannot tell the port", &error))?;
    let local = tokio::select! {
        opened = Local::open_or_create(&context.options, None) => opened?,
        () = signals.next() => {
            return Err(Failure::new(Code::Interrupted, "stopped before the server was ready; no image was touched"));
        }
    };
    let outcome = serve(context, &local, listener, settings, (address, signals)).await;
    local.close(outcome).await
}

async fn serve(
    context: &Context,
    local: &Local,
    listener: tokio::net::TcpListener,
    settings: GatewaySettings,
    (address, signals): (SocketAddr, StopSignals),
) -> Result<(), Failure> {
    let url = url_of(address);
    let _announced = local.folder.announce_server(&url)?;
    let status = local.pipeline.status().await.map_err(|error| Failure::flow(&error))?;
    let ready = Ready {
        url,
        data: local.folder.path.display().to_string(),
        model: status.model,
        images: status.images.indexed,
    };
    context.output.result(&to_json(&ready)?, |_| {
        Ok(format!(
            "MedIndex is ready at {} ({} images in {}, model {}); Ctrl-C stops it\n",
            ready.url, ready.images, ready.data, ready.model
        ))
    })?;
    let stop = signals.wait("stopping: finishing the requests in flight (press Ctrl-C again to end at once)");
    medindex_gateway::serve(listener, local.pipeline.clone(), settings, stop).await;
    Ok(())
}

/// An address that cannot be listened on, with what to do about it.
fn listening_failed(error: &ServeError) -> Failure {
    let ServeError::Listen { address, source } = error;
    let (code, advice) = match source.kind() {
        ErrorKind::AddrInUse => {
            (Code::InUse, "choose another port with --port, or stop the program that has this one")
        }
        ErrorKind::AddrNotAvailable => (
            Code::Usage,
            "this machine has no such address: give --host one that it has, such as 127.0.0.1, or 0.0.0.0 for all of them",
        ),
        ErrorKind::PermissionDenied => {
            (Code::Usage, "this user may not listen there: choose a port from 1024 on with --port")
        }
        _ => (Code::Other, "choose another address with --host, or another port with --port"),
    };
    Failure::new(code, format!("cannot listen on {address}: {}; {advice}", describe_io(source)))
}

/// The address as a browser on this machine reaches it.
fn url_of(address: SocketAddr) -> String {
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(host, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_why_an_address_cannot_be_listened_on_has_its_own_advice() {
        let failure = |kind: ErrorKind| {
            let address = "192.0.2.1:80".parse().unwrap();
            listening_failed(&ServeError::Listen { address, source: kind.into() })
        };
        for (kind, code, words) in [
            (ErrorKind::AddrInUse, Code::InUse, "--port"),
            (ErrorKind::AddrNotAvailable, Code::Usage, "--host"),
            (ErrorKind::PermissionDenied, Code::Usage, "a port from 1024 on"),
            (ErrorKind::Unsupported, Code::Other, "--host"),
        ] {
            let told = failure(kind);
            assert_eq!(told.code, code, "{kind}");
            assert!(
                told.message.contains("192.0.2.1:80") && told.message.contains(words),
                "{}",
                told.message
            );
        }
    }

    #[test]
    fn the_url_is_one_that_this_machine_can_open() {
        let url = |text: &str| url_of(text.parse().unwrap());
        assert_eq!(url("0.0.0.0:8080"), "http://127.0.0.1:8080");
        assert_eq!(url("[::]:80"), "http://[::1]:80");
        assert_eq!(url("192.168.1.2:8080"), "http://192.168.1.2:8080");
    }
}
