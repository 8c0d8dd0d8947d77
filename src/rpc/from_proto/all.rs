//! Checks all fields of a request, so that one error names every malformed field.

use super::super::error::{Error, FieldViolation};

/// Return all values, or an error that names every malformed field.
pub fn all<V: All>(values: V) -> Result<V::Values, Error> {
    values.all()
}

/// Results of several fields.
pub trait All {
    /// The values if no field is malformed.
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

/// Return the value, or note the violations and return `None`. An error that isn't about fields is returned at once.
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
