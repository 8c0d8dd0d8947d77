//! The hashes of PINs: Argon2id with a random salt, and the parameters that OWASP recommends (19 MiB, two passes).

use argon2::{
    Argon2,
    password_hash::{self, PasswordHasher, PasswordVerifier, phc::PasswordHash},
};

use crate::domain::pin::{Pin, PinHash};

/// Hash a PIN. It takes some 20 ms of a processor.
pub fn hash_pin(pin: &Pin) -> Result<PinHash, password_hash::Error> {
    let hash: PasswordHash = Argon2::default().hash_password(pin.digits().as_bytes())?;
    Ok(PinHash::new(hash.to_string()))
}

/// Return whether a hash is that of a PIN. It takes as long as hashing. An error is about the hash alone.
pub fn is_pin_of(pin: &Pin, hash: &PinHash) -> Result<bool, password_hash::Error> {
    let hash = PasswordHash::new(hash.reveal())?;
    match Argon2::default().verify_password(pin.digits().as_bytes(), &hash) {
        Ok(()) => Ok(true),
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_fits_its_pin_alone_and_is_different_each_time() {
        let [pin, other]: [Pin; 2] = ["4711", "4712"].map(|digits| digits.parse().unwrap());
        let [first, second] = [hash_pin(&pin).unwrap(), hash_pin(&pin).unwrap()];
        assert!(first.reveal().starts_with("$argon2id$v=19$m=19456,t=2,p=1$") && first != second);
        assert!(is_pin_of(&pin, &first).unwrap() && is_pin_of(&pin, &second).unwrap());
        assert!(!is_pin_of(&other, &first).unwrap());
        assert!(is_pin_of(&pin, &PinHash::new("not a hash".to_owned())).is_err());
    }
}
