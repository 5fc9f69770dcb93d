//! Where the Lambda API is: an address that the environment gives, or the one of a region.

use std::fmt;

/// The partitions whose rules are known here: how regions begin, and where their hosts end, without and with IPv6.
const PARTITIONS: [(&[&str], &str, &str); 3] = [
    (&["us-gov"], "amazonaws.com", "api.aws"),
    (&["cn"], "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    (&["us", "eu", "ap", "sa", "ca", "me", "af", "il", "mx"], "amazonaws.com", "api.aws"),
];

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    pub tls: bool,
    /// A name or an address; an IPv6 one without brackets.
    pub host: String,
    pub port: u16,
    /// What stands before every path; without a slash at its end.
    pub base: String,
}

impl Endpoint {
    /// The endpoint of a region; none if its partition is not one of those known here.
    pub fn of_region(region: &str, fips: bool, dualstack: bool) -> Option<Self> {
        let (_, classic, dual) = PARTITIONS.iter().find(|(prefixes, ..)| prefixes.iter().any(|p| is_in(region, p)))?;
        let service = if fips { "lambda-fips" } else { "lambda" };
        let suffix = if dualstack { dual } else { classic };
        Some(Self { tls: true, host: format!("{service}.{region}.{suffix}"), port: 443, base: String::new() })
    }

    /// The endpoint at an address; none for one with anything but a scheme, a host, a port and a path.
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let plain =
            |c: char| c.is_ascii_graphic() && !matches!(c, '?' | '#' | '@' | '%' | '"' | '<' | '>' | '\\' | '^');
        if !rest.chars().all(plain) {
            return None;
        }
        let (host, port) = split_port(authority)?;
        let port = port.map_or(Some(if tls { 443 } else { 80 }), |port| port.parse().ok().filter(|port| *port > 0))?;
        Some(Self { tls, host: host.to_ascii_lowercase(), port, base: path.trim_end_matches('/').to_owned() })
    }

    /// The host as the header of a request has it: with the port, unless that is the usual one.
    pub fn host_header(&self) -> String {
        let usual = if self.tls { 443 } else { 80 };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == usual { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.host_header(), self.base)
    }
}

/// Whether `region` is `prefix-words-number`, as the regions of a partition are.
fn is_in(region: &str, prefix: &str) -> bool {
    let Some((word, number)) =
        region.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-')).and_then(|rest| rest.rsplit_once('-'))
    else {
        return false;
    };
    let all = |text: &str, is: fn(&u8) -> bool| !text.is_empty() && text.bytes().all(|byte| is(&byte));
    all(word, u8::is_ascii_lowercase) && all(number, u8::is_ascii_digit)
}

/// The host and the port of `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(crate) fn split_port(authority: &str) -> Option<(&str, Option<&str>)> {
    let (host, rest) = match authority.strip_prefix('[') {
        Some(inside) => inside.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let port = if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    (!host.is_empty() && host.bytes().all(is_plain)).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_of_the_known_partitions_have_an_endpoint() {
        for (region, fips, dualstack, url) in [
            ("us-east-1", false, false, "https://lambda.us-east-1.amazonaws.com"),
            ("ap-southeast-7", true, false, "https://lambda-fips.ap-southeast-7.amazonaws.com"),
            ("mx-central-1", false, true, "https://lambda.mx-central-1.api.aws"),
            ("cn-north-1", false, false, "https://lambda.cn-north-1.amazonaws.com.cn"),
            ("cn-northwest-1", true, true, "https://lambda-fips.cn-northwest-1.api.amazonwebservices.com.cn"),
            ("us-gov-west-1", false, true, "https://lambda.us-gov-west-1.api.aws"),
        ] {
            let endpoint = Endpoint::of_region(region, fips, dualstack).expect("it is known");
            assert_eq!(endpoint.to_string(), url);
        }
        for region in ["us-iso-east-1", "us-isob-east-1", "eusc-de-east-1", "eu-isoe-west-1", "bogus", "", "us-east-"] {
            assert_eq!(Endpoint::of_region(region, false, false), None, "{region}");
        }
    }

    #[test]
    fn addresses_are_read_or_left_alone() {
        for (url, host, port, base) in [
            ("http://127.0.0.1:9000", "127.0.0.1:9000", 9000, ""),
            ("HTTPS://Example.com/", "example.com", 443, ""),
            ("http://[::1]:80/a/b/", "[::1]", 80, "/a/b"),
            ("https://h:444", "h:444", 444, ""),
        ] {
            let endpoint = Endpoint::parse(url).expect("it is plain");
            assert_eq!((&*endpoint.host_header(), endpoint.port, &*endpoint.base), (host, port, base));
        }
        for url in [
            "",
            "localhost:9000",
            "ftp://h",
            "http://",
            "http://u:p@h",
            "http://h/?q",
            "http://h:0",
            "http://h:x",
            "http://h:70000",
            "http://[::1",
            "http://[::1]x",
            "http://h\r\nx",
            "http://h/ä",
        ] {
            assert_eq!(Endpoint::parse(url), None, "{url}");
        }
    }
}
