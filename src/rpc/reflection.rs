//! Server reflection, in both versions: most clients use v1, older ones v1alpha.
//!
//! INVARIANT: each file is there once, under the name in the imports of other files, with all files that it imports. A
//! missing name is an error in the answer, and the stream goes on.

use std::{collections::HashMap, pin::Pin, sync::Arc};

use prost::Message;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use tokio_stream::{Stream, StreamExt};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_reflection::pb::{v1, v1alpha};

use super::status::with_reason;
use crate::domain::ids::shortened;

/// The folder that tonic omits from the names of its files. Imports of these files need it.
const GOOGLE_RPC: &str = "google/rpc/";

/// All descriptors that reflection serves.
pub struct Descriptors {
    /// Each encoded file, by its name.
    files: HashMap<String, Vec<u8>>,
    /// The name of the file of each symbol.
    symbols: HashMap<String, String>,
    services: Vec<String>,
}

/// A request.
enum Lookup<'q> {
    File(&'q str),
    Symbol(&'q str),
    Extension,
    ExtensionNumbers(&'q str),
    Services,
    Nothing,
}

/// An answer.
enum Answer {
    File(Vec<u8>),
    /// No extensions of a known message exist.
    NoExtensions(String),
    Services(Vec<String>),
    Error(Code, String),
}

impl Descriptors {
    /// Read the program's descriptors, or return `None` if they are malformed.
    pub fn new() -> Option<Arc<Self>> {
        let mut all = Self { files: HashMap::new(), symbols: HashMap::new(), services: Vec::new() };
        for encoded in [
            super::FILE_DESCRIPTOR_SET,
            tonic_health::pb::FILE_DESCRIPTOR_SET,
            v1::FILE_DESCRIPTOR_SET,
            v1alpha::FILE_DESCRIPTOR_SET,
            // The messages of error details, so that tools can print them.
            tonic_types::pb::FILE_DESCRIPTOR_SET,
        ] {
            for file in FileDescriptorSet::decode(encoded).ok()?.file {
                all.add(file);
            }
        }
        all.services.sort_unstable();
        Some(Arc::new(all))
    }

    fn add(&mut self, mut file: FileDescriptorProto) {
        if file.package() == "google.rpc" {
            file.name = Some(imported_as(file.name()));
            file.dependency = file.dependency.iter().map(|name| imported_as(name)).collect();
        }
        let name = file.name().to_owned();
        if self.files.contains_key(&name) {
            return;
        }
        let of_package = scope(file.package());
        file.message_type.iter().for_each(|message| self.add_message(&name, &of_package, message));
        file.enum_type.iter().for_each(|kind| self.add_enum(&name, &of_package, kind));
        for service in &file.service {
            let full = format!("{of_package}{}", service.name());
            for method in &service.method {
                self.add_symbol(&name, format!("{full}.{}", method.name()));
            }
            self.services.push(full.clone());
            self.add_symbol(&name, full);
        }
        self.files.insert(name, file.encode_to_vec());
    }

    fn add_message(&mut self, file: &str, parent: &str, message: &DescriptorProto) {
        let full = format!("{parent}{}", message.name());
        let within = scope(&full);
        let fields = message.field.iter().map(|field| field.name());
        let names = fields.chain(message.oneof_decl.iter().map(|one_of| one_of.name()));
        let names: Vec<String> = names.map(|name| format!("{within}{name}")).collect();
        names.into_iter().for_each(|name| self.add_symbol(file, name));
        message.nested_type.iter().for_each(|nested| self.add_message(file, &within, nested));
        message.enum_type.iter().for_each(|kind| self.add_enum(file, &within, kind));
        self.add_symbol(file, full);
    }

    /// Add an enumeration. Its values are symbols beside it.
    fn add_enum(&mut self, file: &str, parent: &str, kind: &EnumDescriptorProto) {
        kind.value.iter().for_each(|value| self.add_symbol(file, format!("{parent}{}", value.name())));
        self.add_symbol(file, format!("{parent}{}", kind.name()));
    }

    fn add_symbol(&mut self, file: &str, symbol: String) {
        self.symbols.insert(symbol, file.to_owned());
    }

    fn answer(&self, question: &Lookup<'_>) -> Answer {
        let missing =
            |kind: &str, name: &str| Answer::Error(Code::NotFound, format!("there is no {kind} `{}`", shortened(name)));
        match *question {
            Lookup::File(name) => {
                self.files.get(name).map_or_else(|| missing("file", name), |file| Answer::File(file.clone()))
            }
            Lookup::Symbol(name) => {
                let file = self.symbols.get(name).and_then(|file| self.files.get(file));
                file.map_or_else(|| missing("symbol", name), |file| Answer::File(file.clone()))
            }
            Lookup::Extension => Answer::Error(Code::NotFound, "there are no extensions".to_owned()),
            Lookup::ExtensionNumbers(name) if self.symbols.contains_key(name) => Answer::NoExtensions(name.to_owned()),
            Lookup::ExtensionNumbers(name) => missing("message", name),
            Lookup::Services => Answer::Services(self.services.clone()),
            Lookup::Nothing => {
                Answer::Error(Code::InvalidArgument, "message_request is required; ask for one thing".to_owned())
            }
        }
    }
}

/// Return the prefix of the names in a package or a message.
fn scope(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("{name}.") }
}

fn imported_as(name: &str) -> String {
    if name.contains('/') { name.to_owned() } else { format!("{GOOGLE_RPC}{name}") }
}

/// Define the service of one version. Both versions have the same messages, each in its own package.
macro_rules! serve {
    ($name:ident, $package:ident) => {
        /// The reflection service of this version.
        pub struct $name(pub Arc<Descriptors>);

        #[tonic::async_trait]
        impl $package::server_reflection_server::ServerReflection for $name {
            type ServerReflectionInfoStream =
                Pin<Box<dyn Stream<Item = Result<$package::ServerReflectionResponse, Status>> + Send>>;

            async fn server_reflection_info(
                &self,
                request: Request<Streaming<$package::ServerReflectionRequest>>,
            ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
                use $package::{
                    server_reflection_request::MessageRequest as Asked,
                    server_reflection_response::MessageResponse as Answered,
                };
                let descriptors = Arc::clone(&self.0);
                let answers = request.into_inner().map(move |request| {
                    let request = request.map_err(with_reason)?;
                    let answer = descriptors.answer(&match &request.message_request {
                        Some(Asked::FileByFilename(name)) => Lookup::File(name),
                        Some(Asked::FileContainingSymbol(name)) => Lookup::Symbol(name),
                        Some(Asked::FileContainingExtension(_)) => Lookup::Extension,
                        Some(Asked::AllExtensionNumbersOfType(name)) => Lookup::ExtensionNumbers(name),
                        Some(Asked::ListServices(_)) => Lookup::Services,
                        None => Lookup::Nothing,
                    });
                    let answered = match answer {
                        Answer::File(file) => Answered::FileDescriptorResponse($package::FileDescriptorResponse {
                            file_descriptor_proto: vec![file],
                        }),
                        Answer::NoExtensions(base_type_name) => {
                            Answered::AllExtensionNumbersResponse($package::ExtensionNumberResponse {
                                base_type_name,
                                extension_number: Vec::new(),
                            })
                        }
                        Answer::Services(names) => Answered::ListServicesResponse($package::ListServiceResponse {
                            service: names.into_iter().map(|name| $package::ServiceResponse { name }).collect(),
                        }),
                        Answer::Error(code, error_message) => {
                            Answered::ErrorResponse($package::ErrorResponse { error_code: code.into(), error_message })
                        }
                    };
                    Ok($package::ServerReflectionResponse {
                        valid_host: request.host.clone(),
                        original_request: Some(request),
                        message_response: Some(answered),
                    })
                });
                Ok(Response::new(Box::pin(answers)))
            }
        }
    };
}

serve!(V1, v1);
serve!(V1Alpha, v1alpha);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_and_symbol_is_there_once_with_all_that_it_imports() {
        let all = Descriptors::new().unwrap();
        let files: Vec<FileDescriptorProto> =
            all.files.values().map(|file| FileDescriptorProto::decode(&**file).unwrap()).collect();
        let pool = prost_reflect::DescriptorPool::from_file_descriptor_set(FileDescriptorSet { file: files.clone() });
        // The pool refuses duplicate symbols and missing imports.
        let pool = pool.unwrap();
        assert_eq!(pool.files().count(), files.len());
        for name in ["google.rpc.Status", "google.rpc.ErrorInfo", "queuegate.v1.SignInRequest"] {
            let file = pool.get_message_by_name(name).unwrap().parent_file();
            assert_eq!(all.symbols[name], file.name(), "{name}");
        }
        assert_eq!(all.symbols["google.rpc.Status"], "google/rpc/status.proto");
        assert_eq!(all.symbols["google.rpc.ErrorInfo"], "google/rpc/error_details.proto");
        assert!(all.symbols.contains_key("queuegate.v1.QueueAccessService.SignIn"));
    }

    #[test]
    fn a_missing_name_is_an_error_in_the_answer() {
        let all = Descriptors::new().unwrap();
        for question in [Lookup::File("status.proto"), Lookup::Symbol("no.such.Thing"), Lookup::Extension] {
            assert!(matches!(all.answer(&question), Answer::Error(Code::NotFound, _)));
        }
        assert!(matches!(all.answer(&Lookup::Nothing), Answer::Error(Code::InvalidArgument, _)));
        let Answer::Services(services) = all.answer(&Lookup::Services) else { panic!("no list") };
        assert!(services.iter().any(|name| name == "grpc.health.v1.Health"));
    }
}
