//! Compiles the protobuf files without a protoc, and keeps the descriptors with their comments for reflection.

use std::{env, fs, path::PathBuf};

const PROTOS: [&str; 4] = [
    "proto/rowcount/v1/rate_service.proto",
    "proto/rowcount/v1/row_count_service.proto",
    "proto/rowcount/board/v1/record.proto",
    // Nothing imports it, but it is what the details of a google.rpc.Status are made of: whoever prints one as JSON
    // looks them up among the descriptors.
    "third_party/google/rpc/error_details.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=third_party");

    let mut compiler = protox::Compiler::new(["proto", "third_party"])?;
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(PROTOS)?;

    // Reflection gets the bytes that protox made: prost would drop the options it does not know.
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("rowcount.bin"), compiler.encode_file_descriptor_set())?;

    let mut config = tonic_prost_build::Config::new();
    config.enable_type_names();
    tonic_prost_build::configure()
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds_with_config(compiler.file_descriptor_set(), config)?;
    Ok(())
}
