//! Server addresses from the command line or the environment: the subset of URL handling that sending needs.

/// The parts of a URL; concatenated they give the URL again.
struct Parts<'u> {
    /// The scheme with `://`, or empty.
    scheme: &'u str,
    authority: &'u str,
    path: &'u str,
    /// The query or fragment with its `?` or `#`.
    query: &'u str,
}

fn parts(url: &str) -> Parts<'_> {
    let is_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let scheme = url.find("://").filter(|at| url[..*at].chars().all(is_scheme)).map_or(0, |at| at + 3);
    let (scheme, rest) = url.split_at(scheme);
    let (rest, query) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    Parts { scheme, authority, path, query }
}

/// Splits an authority into host and port: `[USER@]HOST[:PORT]`, where the host may be an IPv6 address in brackets.
fn host_and_port(authority: &str) -> (&str, Option<&str>) {
    let server = authority.rsplit('@').next().unwrap_or_default();
    match server.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (server, None),
    }
}

/// The port of a URL, if it names one.
pub fn port(url: &str) -> Option<&str> {
    host_and_port(parts(url).authority).1
}

/// Whether the text is a URL that HTTP or gRPC requests can be sent to.
pub fn is_url(text: &str) -> bool {
    let Parts { scheme, authority, .. } = parts(text);
    let (host, port) = host_and_port(authority);
    let host_is_one = !host.is_empty() && (!host.contains(':') || host.starts_with('[') && host.ends_with(']'));
    matches!(scheme, "http://" | "https://")
        && host_is_one
        && port.is_none_or(|port| port.parse::<u16>().is_ok())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Completes an address to a URL by adding the scheme if it is missing.
pub fn address(text: &str, scheme: &str) -> Option<String> {
    let whole = || Some(format!("{scheme}://{text}")).filter(|_| parts(text).scheme.is_empty());
    Some(text.to_owned()).filter(|text| is_url(text)).or_else(|| whole().filter(|text| is_url(text)))
}

/// Appends to the path of a URL, before its query.
pub fn extended(url: &str, path: &str) -> String {
    let Parts { scheme, authority, path: base, query } = parts(url);
    format!("{scheme}{authority}{}{path}{query}", base.trim_end_matches('/'))
}

/// Whether a URL consists of a server without a path.
pub fn is_bare(url: &str) -> bool {
    matches!(parts(url).path, "" | "/")
}

/// Removes the password and the query values from a URL.
pub fn without_secrets(url: &str) -> String {
    let Parts { scheme, authority, path, query } = parts(url);
    // Without URL syntax, secrets cannot be located.
    if !is_url(url) && url.contains(['@', '?']) {
        return "***".to_owned();
    }
    let server = authority.rfind('@').map_or(authority.to_owned(), |at| format!("***{}", &authority[at..]));
    let hidden = |pair: &str| match pair.split_once('=') {
        Some((key, _)) => format!("{key}=***"),
        None => "***".to_owned(),
    };
    let query = query.split_at_checked(1).map_or(String::new(), |(mark, pairs)| {
        mark.to_owned() + &pairs.split('&').map(hidden).collect::<Vec<_>>().join("&")
    });
    format!("{scheme}{server}{path}{query}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nothing_can_be_sent_to_is_no_url() {
        for url in [
            "http://h",
            "https://h:1/p?q",
            "http://me:pw@h:65535",
            "http://[::1]:4318",
            "https://[::1]",
            "http://h?q@:",
        ] {
            assert!(is_url(url), "{url}");
        }
        for text in [
            "",
            "h:1",
            "http://",
            "http:///p",
            "https:/coll.example.com",
            "ftp://h",
            "http://h:",
            "http://h:port",
            "http://h:65536",
            "http://::1",
            "http://me@",
            "http://a b",
            "http://h\u{fffd}",
        ] {
            assert!(!is_url(text), "{text}");
        }
        let whole = |text| address(text, "https");
        assert_eq!(whole("h:4317").as_deref(), Some("https://h:4317"));
        assert_eq!(whole("h?to=http://x").as_deref(), Some("https://h?to=http://x"));
        assert_eq!(whole("http://h").as_deref(), Some("http://h"));
        for text in ["https:/coll.example.com", "ftp://h", "mailto:me", "/p"] {
            assert_eq!(whole(text), None, "{text}");
        }
    }

    #[test]
    fn a_path_is_put_before_the_query() {
        assert_eq!(extended("http://h/base/?k=v", "/v1/traces"), "http://h/base/v1/traces?k=v");
        assert_eq!(extended("http://h?k=/v", "/v1/traces"), "http://h/v1/traces?k=/v");
        assert_eq!((port("http://h:1/x:2"), port("http://h?x:2"), port("http://[::1]")), (Some("1"), None, None));
    }

    #[test]
    fn secrets_in_a_url_are_not_shown() {
        assert_eq!(without_secrets("https://me:secret@h:1/p@q"), "https://***@h:1/p@q");
        assert_eq!(without_secrets("http://h/p@q"), "http://h/p@q");
        assert_eq!(without_secrets("http://h?u@v=secret&secret#secret"), "http://h?u@v=***&***");
        assert_eq!(without_secrets("https:/me:secret@h"), "***");
        assert_eq!(without_secrets("ftp://h"), "ftp://h");
    }
}
