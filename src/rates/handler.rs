//! What a request is called: old registries label it with a handler, new ones with a route. Both come to one key, by
//! which costs are found; what a source wrote is what its reader sees.

use std::borrow::Cow;

/// What the labels of a request come to, whoever wrote them and however.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    /// Key of the handler.
    handler: String,
    /// In lower case.
    method: String,
}

/// Handlers that go by several names, the first of which is their key. A route ends without a slash here.
const NAMES: [&[&str]; 8] = [
    &["base", "/v2", "v2"],
    &["catalog", "/v2/_catalog"],
    &["tags", "/v2/{name}/tags/list"],
    &["tag", "/v2/{name}/tags/reference/{reference}"],
    &["manifest", "manifests", "/v2/{name}/manifests/{reference}"],
    &["blob", "blobs", "/v2/{name}/blobs/{digest}"],
    // The method tells the start of an upload from the rest of it.
    &["blob_upload", "blob_upload_chunk", "/v2/{name}/blobs/uploads", "/v2/{name}/blobs/uploads/{uuid}"],
    &["statistics", "/gitlab/v1/statistics"],
];

// === impl Pair ===

impl Pair {
    /// The pair that these labels mean.
    pub fn new(handler: &str, method: &str) -> Self {
        Self { handler: key(handler), method: method.trim().to_ascii_lowercase() }
    }
}

fn key(handler: &str) -> String {
    let lower = handler.trim().to_lowercase();
    let known = |name: &str| NAMES.iter().find(|names| names.contains(&name)).map(|names| names[0].to_owned());
    if lower.starts_with('/') {
        let route = lower.trim_end_matches('/');
        return known(route).unwrap_or_else(|| route.to_owned());
    }
    let name: Cow<'_, str> = lower.replace([' ', '-'], "_").into();
    known(&name).unwrap_or_else(|| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_and_its_route_are_the_same_in_any_case() {
        for (one, other) in [
            ("Manifest", "/v2/{name}/manifests/{reference}"),
            ("blob-upload-chunk", "/v2/{name}/blobs/uploads/{uuid}"),
            ("Blob Upload", "/v2/{name}/blobs/uploads/"),
            ("TAGS", "/v2/{name}/tags/list"),
            ("base", "/v2/"),
        ] {
            assert_eq!(Pair::new(one, "GET"), Pair::new(other, "get"));
        }
        assert_ne!(Pair::new("tag", "get"), Pair::new("tags", "get"));
    }

    #[test]
    fn a_route_that_no_handler_had_stays_as_it_is() {
        assert_eq!(Pair::new("/gitlab/v1/Import/{name}/", "PUT").handler, "/gitlab/v1/import/{name}");
    }
}
