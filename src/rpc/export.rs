//! The export of a directory, in pieces.

use super::{
    error::Error,
    from_proto::{self, all},
    proto,
    services::CallerServices,
    stream::Messages,
};
use crate::{
    document,
    domain::{
        export::{queue_entries, user_entries},
        plan::found_organization,
    },
};

/// The number of pieces of an export that may wait for the reader.
const EXPORT_BUFFER: usize = 4;

/// The pieces of an export.
pub(super) type ExportMessages = Messages<proto::ExportDirectoryResponse>;

/// Export an organization as a document.
pub(super) async fn export(
    services: &CallerServices,
    request: proto::ExportDirectoryRequest,
) -> Result<ExportMessages, Error> {
    let proto::ExportDirectoryRequest { organization_id, format, at_least_revision } = request;
    let format = match proto::DocumentFormat::try_from(format) {
        Ok(proto::DocumentFormat::Unspecified | proto::DocumentFormat::Yaml) => Ok(document::Format::Yaml),
        Ok(proto::DocumentFormat::Json) => Ok(document::Format::Json),
        Err(_) => {
            let problem = format_args!("must be DOCUMENT_FORMAT_YAML or DOCUMENT_FORMAT_JSON, but is {format}");
            Err(Error::invalid("format", &problem))
        }
    };
    let (organization_id, format, ()) = all((
        from_proto::organization_id(&services.caller, &organization_id),
        format,
        from_proto::at_least(&at_least_revision),
    ))?;
    let snapshot = services.snapshot(&at_least_revision).await?;
    found_organization(&snapshot, &organization_id)?;
    let revision = snapshot.revision().to_string();
    services.read_long(EXPORT_BUFFER, move |answers| {
        let organization = found_organization(&snapshot, &organization_id).map_err(|error| Some(error.into()))?;
        let header = document::Header {
            organization_id: Some(&organization_id),
            display_name: &organization.attributes().display_name,
            settings: organization.settings(),
        };
        document::write(&header, queue_entries(organization), user_entries(organization), format, |piece| {
            let document = piece.into_bytes();
            answers.send(proto::ExportDirectoryResponse { document, revision: revision.clone() })
        })
    })
}
