//! The API only grows: everything in the descriptors of the last release, `proto/released.binpb`, is still there and
//! unchanged. `QUEUEGATE_RELEASE_API=1` writes the present API there.

use std::{collections::BTreeMap, fs, path::Path};

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet, field_descriptor_proto::Label,
};
use queuegate::rpc::FILE_DESCRIPTOR_SET;

/// The elements of an API with the properties that clients depend on.
type Elements = BTreeMap<String, String>;

fn elements(descriptors: &FileDescriptorSet) -> Elements {
    let mut found = Elements::new();
    for file in descriptors.file.iter().filter(|file| file.package() == "queuegate.v1") {
        let place = file.name();
        let options = file.options.clone().unwrap_or_default();
        let name = |option: &str| format!("option {option} of {place}");
        found.insert(name("go_package"), options.go_package().to_owned());
        found.insert(name("java_package"), format!("{} {}", options.java_package(), options.java_multiple_files()));
        found.insert(name("csharp_namespace"), options.csharp_namespace().to_owned());
        file.message_type.iter().for_each(|message| add_message(&mut found, place, file.package(), message));
        file.enum_type.iter().for_each(|values| add_enum(&mut found, place, file.package(), values));
        for service in &file.service {
            found.insert(format!("service {}", service.name()), place.to_owned());
            for method in &service.method {
                let stream = |streams| if streams { "stream " } else { "" };
                let (asks, answers) = (stream(method.client_streaming()), stream(method.server_streaming()));
                let types = format!("({asks}{}) returns ({answers}{})", method.input_type(), method.output_type());
                found.insert(format!("method {}/{}", service.name(), method.name()), types);
            }
        }
    }
    found
}

fn add_message(found: &mut Elements, place: &str, parent: &str, message: &DescriptorProto) {
    let name = format!("{parent}.{}", message.name());
    found.insert(format!("message {name}"), place.to_owned());
    for field in &message.field {
        let repeated = if field.label() == Label::Repeated { "repeated " } else { "" };
        let one_of = field.oneof_index.map(|index| message.oneof_decl[usize::try_from(index).unwrap()].name());
        let one_of = if field.proto3_optional() { "optional" } else { one_of.unwrap_or_default() };
        let kind = format!("{repeated}{} {}", field.r#type().as_str_name(), field.type_name());
        let properties = format!("{} ({}): {kind} {one_of}", field.name(), field.json_name());
        found.insert(format!("field {name} {}", field.number()), properties);
    }
    message.nested_type.iter().for_each(|nested| add_message(found, place, &name, nested));
    message.enum_type.iter().for_each(|values| add_enum(found, place, &name, values));
}

fn add_enum(found: &mut Elements, place: &str, parent: &str, values: &EnumDescriptorProto) {
    let name = format!("{parent}.{}", values.name());
    found.insert(format!("enum {name}"), place.to_owned());
    for value in &values.value {
        found.insert(format!("value {name} {}", value.number()), value.name().to_owned());
    }
}

/// The elements that are missing or different in the newer API.
fn breaking(older: &FileDescriptorSet, newer: &FileDescriptorSet) -> Vec<String> {
    let newer = elements(newer);
    let changed = elements(older).into_iter().filter(|(name, properties)| newer.get(name) != Some(properties));
    changed.map(|(name, _)| name).collect()
}

fn present() -> FileDescriptorSet {
    FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap()
}

#[test]
fn the_api_of_the_last_release_is_unchanged() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto/released.binpb");
    if std::env::var_os("QUEUEGATE_RELEASE_API").is_some() {
        let mut descriptors = present();
        // Without the comments, which are most of it.
        descriptors.file.iter_mut().for_each(|file| file.source_code_info = None);
        fs::write(&path, descriptors.encode_to_vec()).unwrap();
    }
    let released = FileDescriptorSet::decode(&*fs::read(path).unwrap()).unwrap();
    assert!(elements(&released).len() > 500);
    let changed = breaking(&released, &present());
    assert!(changed.is_empty(), "clients of the last release would break: {changed:#?}");
}

/// An element, and a change that breaks it.
type Breaking = (&'static str, fn(&mut FileDescriptorProto));

#[test]
fn a_breaking_change_is_found_and_an_addition_is_not() {
    let changes: &[Breaking] = &[
        ("field queuegate.v1.User 3", |file| message(file, "User").field.retain(|field| field.number() != 3)),
        ("field queuegate.v1.User 3", |file| message(file, "User").field[2].name = Some("phone".into())),
        ("field queuegate.v1.User 3", |file| message(file, "User").field[2].number = Some(99)),
        ("field queuegate.v1.User 3", |file| message(file, "User").field[2].r#type = Some(3)),
        ("field queuegate.v1.User 3", |file| message(file, "User").field[2].proto3_optional = None),
        ("field queuegate.v1.GetUserRequest 2", |file| message(file, "GetUserRequest").field[1].oneof_index = None),
        ("field queuegate.v1.ListUsersResponse 1", |file| message(file, "ListUsersResponse").field[0].label = Some(1)),
        ("message queuegate.v1.User", |file| message(file, "User").name = Some("Person".into())),
        ("value queuegate.v1.ImportStage 4", |file| {
            file.enum_type[1].value.pop();
            file.enum_type[1].value.pop();
        }),
        ("method DirectoryService/GetUser", |file| {
            let methods = &mut file.service[0].method;
            methods.iter_mut().find(|method| method.name() == "GetUser").unwrap().server_streaming = Some(true);
        }),
        ("service DirectoryService", |file| file.service.clear()),
        ("option java_package of queuegate/v1/directory.proto", |file| {
            file.options.as_mut().unwrap().java_package = Some("com.example".into());
        }),
    ];
    for (named, change) in changes {
        let mut changed = present();
        change(changed.file.iter_mut().find(|file| file.name() == "queuegate/v1/directory.proto").unwrap());
        let found = breaking(&present(), &changed);
        assert!(found.iter().any(|element| element == named), "{named}: {found:?}");
    }
    let mut smaller = present();
    let file = smaller.file.iter_mut().find(|file| file.name() == "queuegate/v1/directory.proto").unwrap();
    message(file, "User").field.pop();
    file.enum_type[1].value.pop();
    file.service[0].method.pop();
    file.message_type.pop();
    assert!(breaking(&smaller, &present()).is_empty(), "additions break nothing");
}

fn message<'f>(file: &'f mut FileDescriptorProto, name: &str) -> &'f mut DescriptorProto {
    file.message_type.iter_mut().find(|message| message.name() == name).unwrap()
}
