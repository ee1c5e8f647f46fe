//! The image store on `HBase`, through its Thrift 1 server.
