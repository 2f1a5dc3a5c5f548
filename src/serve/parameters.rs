//! The parameters of a query, each of which may occur once.

use super::refused::{self, Refused};
use crate::{error::InvalidText, wire::percent};

/// Returns the decoded value of a parameter, if the query has it.
pub(super) fn parameter(query: Option<&str>, name: &'static str) -> Result<Option<String>, Refused> {
    let mut values = percent::query_values(query, name);
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(raw), None) => {
            let value = percent::decode_value(name, raw).map_err(|error| refused::invalid(&error))?;
            Ok(Some(value.into_owned()))
        }
        (Some(_), Some(_)) => Err(refused::malformed("a parameter of the query occurs twice")),
    }
}

/// Returns a parameter that is a name or an id.
pub(super) fn named<N>(query: Option<&str>, name: &'static str) -> Result<Option<N>, Refused>
where
    N: TryFrom<String, Error = InvalidText>,
{
    let value = parameter(query, name)?;
    value.map(N::try_from).transpose().map_err(|error| refused::invalid(&error))
}
