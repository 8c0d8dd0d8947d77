//! An import document: whatever is read without a problem is written so that it reads back the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use queuegate::{
    document::{Format, Reading, read, write},
    domain::settings::PermissionSettings,
};

fuzz_target!(|text: &str| {
    let Reading { directory, problems } = read(text);
    if !problems.is_empty() {
        return;
    }
    let settings = directory.settings.applied_to(PermissionSettings::default());
    for format in [Format::Yaml, Format::Json] {
        let written = write(&directory, &settings, format);
        let again = read(&written);
        assert_eq!(again.problems, [], "{written}");
        // The lines may differ, so what is compared is what is written of it.
        assert_eq!(write(&again.directory, &settings, format), written);
        assert_eq!(again.directory.settings.applied_to(PermissionSettings::default()), settings);
    }
});
