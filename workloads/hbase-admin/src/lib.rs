//! HBase administration through its Thrift 2 server: namespaces and pre-split tables.
