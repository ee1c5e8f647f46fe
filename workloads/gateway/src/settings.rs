//! Settings of the gateway, with defaults that suit one machine.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// What the gateway can be told.
#[derive(Debug, Clone)]
pub struct GatewaySettings {
    /// Address to listen on. Default `127.0.0.1:8080`: only this machine, because there are no accounts yet.
    pub listen: SocketAddr,
    /// Host names besides the loopback ones that requests may be addressed to. On a loopback address any other
    /// `Host` is refused, so that a web site cannot reach this server by pointing its own name here (DNS
    /// rebinding); on any other address an empty list lets every name pass.
    pub allowed_hosts: Vec<String>,
    /// Longest time for an answer, reading the request and training excepted. Default 60 s.
    pub answer_within: Duration,
    /// Longest silence of a client that is sending a body, and the time before its pace counts. Default 30 s.
    pub body_idle: Duration,
    /// How long requests in flight may take to finish at shutdown. Default 30 s.
    pub shutdown_within: Duration,
    /// Bytes a second that a client has to send after that time; a slower one would hold its place for hours. Default 8 KiB/s.
    pub body_pace: u64,
    /// Requests with a file that are read and worked on at the same time; more are refused with 503. Default
    /// [`GatewaySettings::CONCURRENT_UPLOADS`].
    pub concurrent_uploads: usize,
    /// Memory for the files of those requests, in bytes; more are refused with 503. Default 1 GiB, and never less
    /// than one file of the largest size takes.
    pub upload_memory: u64,
    /// Files in one upload request. Default 1,000.
    pub files_per_upload: usize,
}

impl GatewaySettings {
    /// Requests with a file at the same time unless told otherwise: clients on slow lines hold most of them, and those that wait
    /// for a line cost no memory ([`GatewaySettings::upload_memory`] bounds that by itself).
    pub const CONCURRENT_UPLOADS: u16 = 64;
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080),
            allowed_hosts: Vec::new(),
            answer_within: Duration::from_mins(1),
            body_idle: Duration::from_secs(30),
            shutdown_within: Duration::from_secs(30),
            body_pace: 8 << 10,
            concurrent_uploads: usize::from(Self::CONCURRENT_UPLOADS),
            upload_memory: 1 << 30,
            files_per_upload: 1_000,
        }
    }
}
