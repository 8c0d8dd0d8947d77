//! Compiles `proto/` in Rust alone, so that a build needs no `protoc`, and keeps the
//! descriptors, comments included, for server reflection.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const PROTOS: [&str; 6] = [
    "queuegate/v1/common.proto",
    "queuegate/v1/queue_access.proto",
    "queuegate/v1/permission.proto",
    "queuegate/v1/directory.proto",
    "queuegate/v1/audit.proto",
    "queuegate/v1/console.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true).include_source_info(true).open_files(PROTOS)?;
    let descriptors = compiler.file_descriptor_set();

    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    fs::write(out.join("queuegate_descriptor.bin"), descriptors.encode_to_vec())?;
    let mut config = prost_build::Config::new();
    config.enable_type_names();
    // A PIN must not get into a log by `Debug`.
    config.skip_debug([".queuegate.v1.SetPinRequest", ".queuegate.v1.VerifyPinRequest"]);
    tonic_prost_build::configure()
        .extern_path(".google.rpc", "::tonic_types::pb")
        .compile_fds_with_config(descriptors, config)?;
    Ok(())
}
