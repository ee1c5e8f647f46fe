//! Generates the message types and the gRPC services from `proto/` in pure Rust, without `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let messages = protox::compile(["medindex/v1/messages.proto"], ["proto"])?;
    prost_build::Config::new().bytes(["."]).btree_map(["."]).compile_fds(messages)?;
    #[cfg(feature = "services")]
    {
        let services = protox::compile(["medindex/v1/services.proto"], ["proto"])?;
        let folder = std::path::PathBuf::from(std::env::var("OUT_DIR")?).join("services");
        std::fs::create_dir_all(&folder)?;
        tonic_prost_build::configure().out_dir(folder).bytes(".").btree_map(".").compile_fds(services)?;
    }
    Ok(())
}
