//! The lamps of phones: a custom device state on the PBX for each session.

use std::collections::BTreeSet;

use tracing::{info, warn};

use crate::{
    domain::ids::{Extension, OrganizationId},
    pbx::{
        connection::{PbxConnection, PbxError},
        names::Lamp,
    },
};

/// The lamps as the PBX shows them.
#[derive(Debug, Default)]
pub(super) struct Lamps {
    lit: BTreeSet<String>,
    /// Whether the PBX has refused to show or change lamps. Then they are left as they are.
    is_refused: bool,
}

impl Lamps {
    /// Read which lamps are lit.
    pub(super) async fn read(&mut self, pbx: &mut PbxConnection) -> Result<(), PbxError> {
        let lit = pbx.lit_lamps().await;
        if let Some(lit) = self.unless_refused(lit)? {
            self.lit = lit;
        }
        Ok(())
    }

    /// Light the lamps of exactly the users with a session on a queue.
    pub(super) async fn show(
        &mut self,
        pbx: &mut PbxConnection,
        lamp: &Lamp,
        (organization, pbx_queue): (&OrganizationId, &str),
        signed_in: &BTreeSet<Extension>,
    ) -> Result<(), PbxError> {
        if self.is_refused {
            return Ok(());
        }
        let wanted: BTreeSet<String> =
            signed_in.iter().filter_map(|extension| lamp.of(organization, *extension, pbx_queue)).collect();
        let is_of_queue = |device: &&String| lamp.is_on(organization, pbx_queue, device);
        let lit: BTreeSet<String> = self.lit.iter().filter(is_of_queue).cloned().collect();
        for device in wanted.symmetric_difference(&lit) {
            let is_lit = wanted.contains(device);
            let set = pbx.set_lamp(device, is_lit).await;
            if self.unless_refused(set)?.is_none() {
                return Ok(());
            }
            info!(queue = pbx_queue, device, is_lit, "a lamp was changed");
            if is_lit {
                self.lit.insert(device.clone());
            } else {
                self.lit.remove(device);
            }
        }
        Ok(())
    }

    /// Treat a refusal as the end of lamps on this connection.
    fn unless_refused<T>(&mut self, done: Result<T, PbxError>) -> Result<Option<T>, PbxError> {
        match done {
            Ok(done) => Ok(Some(done)),
            Err(error @ PbxError::Refused { .. }) => {
                warn!(%error, "lamps can't be shown; give the manager's user the write class `call` in manager.conf");
                self.is_refused = true;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
