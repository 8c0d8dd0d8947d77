//! The callers: bearer tokens and client certificates, their scopes, and the organizations that they may use
//! (`docs/semantics.md` section 5.1).
//!
//! INVARIANT: a secret is in memory only while it is generated or presented. Only its hash or its name is stored,
//! compared or logged.

mod authority;
mod certificate;
mod file;
mod identity;
mod links;
mod pins;
mod reading;
mod secret;

pub use authority::{Authority, Presented, Recognized, Refused};
pub use certificate::CertificateName;
pub use file::{Entry, Error, TokenFile};
pub use identity::{ActsFor, Identity, Scope};
pub use links::Links;
pub use pins::{hash_pin, is_pin_of};
pub use reading::{Keeping, Reserve, exposure};
pub use secret::{Fingerprint, Secret, without_secrets};
