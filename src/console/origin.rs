//! The console's address as browsers see it.

use std::{fmt, net::SocketAddr, str::FromStr};

/// The address of the console, such as `https://pbx.example.com/queuegate`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    scheme: Scheme,
    /// The host, and the port unless it is the scheme's own.
    authority: String,
    /// The path prefix, without a slash at its end.
    path: String,
}

/// How browsers reach the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP.
    Http,
    /// HTTP over TLS.
    Https,
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl Origin {
    /// The origin of a listener that browsers reach directly.
    pub fn of_listener(scheme: Scheme, address: SocketAddr) -> Self {
        Self { scheme, authority: address.to_string(), path: String::new() }
    }

    /// Return how browsers reach the console.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Return the host, with the port unless it is the scheme's own.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Return whether a request's `origin` header is this address at the host `host`.
    pub fn is(&self, header: &str, host: &str) -> bool {
        header.split_once("://").is_some_and(|(scheme, rest)| scheme == self.scheme.as_str() && rest == host)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.as_str(), self.authority, self.path)
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let malformed = || "must be an address such as https://pbx.example.com/queuegate".to_owned();
        let (scheme, rest) = text.split_once("://").ok_or_else(malformed)?;
        let (scheme, own_port) = match scheme {
            "http" => (Scheme::Http, ":80"),
            "https" => (Scheme::Https, ":443"),
            _ => return Err(malformed()),
        };
        let (authority, path) = rest.find('/').map_or((rest, ""), |place| rest.split_at(place));
        let is_host = |letter: char| letter.is_ascii_alphanumeric() || "-._:[]".contains(letter);
        let is_path = |letter: char| letter.is_ascii_alphanumeric() || "-._~/".contains(letter);
        if authority.is_empty() || !authority.chars().all(is_host) || !path.chars().all(is_path) {
            return Err(malformed());
        }
        // Browsers leave out the scheme's own port.
        let authority = authority.strip_suffix(own_port).unwrap_or(authority).to_ascii_lowercase();
        Ok(Self { scheme, authority, path: path.trim_end_matches('/').to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_perhaps_a_path() {
        for (given, shown) in [
            ("https://PBX.example.com/queuegate/", "https://pbx.example.com/queuegate"),
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("https://[::1]:8443/", "https://[::1]:8443"),
            ("https://pbx.example.com:443", "https://pbx.example.com"),
        ] {
            assert_eq!(given.parse::<Origin>().unwrap().to_string(), shown);
        }
        for wrong in
            ["", "pbx.example.com", "ftp://pbx", "https://", "https:///x", "https://a b", "https://a/?q", "https://u@h"]
        {
            assert!(wrong.parse::<Origin>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_origin_header_has_the_scheme_and_the_host_of_the_request() {
        let origin: Origin = "https://pbx.example.com/queuegate".parse().unwrap();
        assert!(origin.is("https://pbx.example.com", "pbx.example.com"));
        for other in ["null", "http://pbx.example.com", "https://evil.example", "https://pbx.example.com:8443"] {
            assert!(!origin.is(other, "pbx.example.com"), "{other}");
        }
    }
}
