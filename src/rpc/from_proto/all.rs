//! All fields of a request at once, so that its caller learns of every malformed one.

use super::super::error::{Error, FieldViolation};

/// All of several values, or an error that names every field that is wrong.
pub fn all<V: All>(values: V) -> Result<V::Values, Error> {
    values.all()
}

/// Values that may each be wrong.
pub trait All {
    /// The values when none is.
    type Values;

    fn all(self) -> Result<Self::Values, Error>;
}

macro_rules! all_of {
    ($($value:ident)+) => {
        #[allow(non_snake_case, reason = "one name is the type and the value")]
        impl<$($value),+> All for ($(Result<$value, Error>,)+) {
            type Values = ($($value,)+);

            fn all(self) -> Result<Self::Values, Error> {
                let ($($value,)+) = self;
                let mut wrong = Vec::new();
                $(let $value = noted($value, &mut wrong)?;)+
                match ($($value,)+) {
                    ($(Some($value),)+) => Ok(($($value,)+)),
                    _ => Err(Error::Invalid(wrong)),
                }
            }
        }
    };
}

all_of!(A B);
all_of!(A B C);
all_of!(A B C D);
all_of!(A B C D E);
all_of!(A B C D E F);
all_of!(A B C D E F G);
all_of!(A B C D E F G H);
all_of!(A B C D E F G H I);

/// A value, or nothing where a field is wrong, which is noted. Other errors are not about fields, and come first.
pub fn noted<T>(value: Result<T, Error>, wrong: &mut Vec<FieldViolation>) -> Result<Option<T>, Error> {
    match value {
        Ok(value) => Ok(Some(value)),
        Err(Error::Invalid(violations)) => {
            wrong.extend(violations);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}
