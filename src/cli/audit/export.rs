//! `audit export`, and the cut of exported events.

use std::{
    fs::OpenOptions,
    io::Write,
    path::{Path, PathBuf},
};

use clap::Args;
use indicatif::ProgressBar;

use super::super::{
    archive,
    args::{Common, Wrong},
    exit::Outcome,
    print,
    when::{self, When},
};
use crate::{client::Client, rpc::proto};

/// Arguments of `audit export`.
#[derive(Args)]
pub(crate) struct Export {
    /// The file to write, which must not exist. Absent: standard output.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Stop at the first event that is not before this time, such as 2026-11-22, or a time span before now, such as
    /// 90days.
    #[arg(long, value_name = "TIME", value_parser = when::when)]
    before: Option<When>,
    /// Cut the exported events off the log once the file is written, verified and on disk.
    #[arg(long, requires = "output")]
    cut: bool,
    #[command(flatten)]
    common: Common,
}

impl Export {
    pub(super) async fn run(self) -> anyhow::Result<Outcome> {
        let mut client = self.common.connect().await?;
        let request = proto::ExportAuditLogRequest {
            organization_id: self.common.organization.clone(),
            before_time: self.before.map(When::start),
        };
        let mut pieces = client.audit.export_audit_log(request).await?.into_inner();
        let Some(path) = &self.output else {
            let mut out = std::io::stdout().lock();
            while let Some(piece) = pieces.message().await? {
                out.write_all(&piece.lines)?;
            }
            return Ok(Outcome::Done);
        };
        let refused = |error: std::io::Error| Wrong(format!("can't write `{}`: {error}", path.display()));
        // Another archive must not be overwritten.
        let mut file = OpenOptions::new().write(true).create_new(true).open(path).map_err(refused)?;
        let bar = ProgressBar::new_spinner();
        bar.set_style(print::bar_style("{spinner} {human_pos} events"));
        let mut last = proto::ExportAuditLogResponse::default();
        let receiving = async {
            while let Some(piece) = pieces.message().await? {
                file.write_all(&piece.lines).map_err(refused)?;
                bar.set_position(u64::try_from(piece.events).unwrap_or(0));
                last = piece;
            }
            file.sync_all().map_err(refused)?;
            anyhow::Ok(())
        };
        let received = receiving.await;
        bar.finish_and_clear();
        if received.is_err() {
            // An incomplete archive is useless.
            std::fs::remove_file(path).map_err(refused)?;
        }
        received?;
        let Some(through) = last.through.clone() else {
            std::fs::remove_file(path).map_err(refused)?;
            print::line("there is nothing to export")?;
            return Ok(Outcome::Done);
        };
        if self.cut {
            self.cut(&mut client, path, &through).await?;
        }
        if self.common.server.json {
            last.lines = Vec::new();
            print::json(&last)?;
        } else {
            let cut = if self.cut { ", and cut off the log" } else { "" };
            print::line(&format!("{} events written to {}{cut}", last.events, path.display()))?;
            print::line(&format!("ends with {}:{}", through.revision, through.hash))?;
        }
        Ok(Outcome::Done)
    }

    /// Cut the events in the file off the log, after verifying the file.
    async fn cut(&self, client: &mut Client, path: &Path, through: &proto::AuditLogPosition) -> anyhow::Result<()> {
        let written = archive::read(path, None)?;
        let whole = written.fault.is_none() && written.last_hash == through.hash;
        if !whole {
            let why = written.fault.unwrap_or_else(|| "it doesn't end with the last exported event".to_owned());
            return Err(Wrong(format!("nothing was cut, because `{}` can't be verified: {why}", path.display())).into());
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        std::fs::File::open(folder.unwrap_or(std::path::Path::new("."))).and_then(|folder| folder.sync_all())?;
        let request = proto::CutAuditLogRequest {
            organization_id: self.common.organization.clone(),
            through_revision: through.revision.clone(),
            through_hash: through.hash.clone(),
            // Repeating the cut after a lost response succeeds.
            request_id: through.hash.clone(),
        };
        client.audit.cut_audit_log(request).await?;
        Ok(())
    }
}
