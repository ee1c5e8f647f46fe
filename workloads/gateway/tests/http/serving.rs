//! Over a real socket: stopping without losing a request in flight.

use std::time::{Duration, Instant};

use medindex_gateway::{GatewaySettings, ServeError, listen, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::support::{Form, House, sample};

fn settings() -> GatewaySettings {
    GatewaySettings { listen: ([127, 0, 0, 1], 0).into(), ..GatewaySettings::default() }
}

#[tokio::test]
async fn a_request_in_flight_is_finished_before_the_gateway_stops() {
    let house = House::empty().await;
    let listener = listen(&settings()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, house.pipeline.clone(), settings(), async {
        stopped.await.ok();
    }));
    let body = Form::new().file("ct.dcm", &sample("CT_small.dcm")).body();
    let head = format!(
        "POST /api/v1/images HTTP/1.1\r\nHost: {address}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\
         Expect: 100-continue\r\n\r\n",
        Form::content_type(),
        body.len()
    );
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(head.as_bytes()).await.unwrap();
    // The server asks for the body: the request is in flight.
    let mut interim = [0; 25];
    client.read_exact(&mut interim).await.unwrap();
    assert_eq!(&interim, b"HTTP/1.1 100 Continue\r\n\r\n");
    stop.send(()).unwrap();
    let begun = Instant::now();
    while TcpStream::connect(address).await.is_ok() {
        assert!(begun.elapsed() < Duration::from_mins(1), "it still takes connections");
        tokio::task::yield_now().await;
    }
    client.write_all(&body).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 202 "), "{answer}");
    server.await.unwrap();
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let first = listen(&settings()).await.unwrap();
    let taken = GatewaySettings { listen: first.local_addr().unwrap(), ..settings() };
    let ServeError::Listen { address, .. } = listen(&taken).await.unwrap_err();
    assert_eq!(address, first.local_addr().unwrap());
}
