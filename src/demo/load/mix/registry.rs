//! The mix of a registry 4.32 with a cold cache: proportions of the estimate of 2020, with what it leaves out: pings,
//! what is not found, what is refused or fails before it reaches the database, the uploads' steps without a statement,
//! the pages of GitLab itself. Left out is `/gitlab/v1/statistics/`, whose table older schemas do not have.

use super::{About, Pair, Part};
use crate::demo::load::script::{Script, Size};
use manifests as m;
use reads as r;
use uploads as u;

mod manifests;
mod reads;
mod uploads;

const API: &str = "/v2/";
const CATALOG: &str = "/v2/_catalog";
const TAGS: &str = "/v2/{name}/tags/list";
const MANIFESTS: &str = "/v2/{name}/manifests/{reference}";
const BLOBS: &str = "/v2/{name}/blobs/{digest}";
const UPLOADS: &str = "/v2/{name}/blobs/uploads/";
const UPLOAD: &str = "/v2/{name}/blobs/uploads/{uuid}";
const GITLAB: &str = "/gitlab/v1";
const GITLAB_REPOSITORY: &str = "/gitlab/v1/repositories/{name}";
const GITLAB_TAGS: &str = "/gitlab/v1/repositories/{name}/tags/list";
const GITLAB_TAG: &str = "/gitlab/v1/repositories/{name}/tags/detail/{tagName}";
const GITLAB_PATHS: &str = "/gitlab/v1/repository-paths/{name}/repositories/list";

pub(super) static PAIRS: &[Pair] = &[
    pair("get", API, "200", 10.0, &[only("ping", About::Manifest, nothing)]),
    pair("get", API, "401", 30.0, &[only("without a token", About::Manifest, nothing)]),
    pair("get", CATALOG, "200", 0.05, &[only("catalog", About::Manifest, r::catalog)]),
    pair("get", TAGS, "200", 25.0, &[only("tags", About::Manifest, r::tags)]),
    pair("get", TAGS, "404", 0.5, &[only("unknown repository", About::UnknownRepository, r::unknown_repository)]),
    pair("get", MANIFESTS, "200", 103.0, &[only("any manifest or index", About::Manifest, r::manifest_by_digest)]),
    pair("get", MANIFESTS, "304", 2.0, &[only("not modified by tag", About::Manifest, r::manifest_by_tag)]),
    pair("get", MANIFESTS, "401", 5.0, &[only("without a token", About::Manifest, nothing)]),
    pair("get", MANIFESTS, "404", 2.0, &[only("unknown manifest", About::UnknownContent, r::unknown_manifest)]),
    pair("get", MANIFESTS, "500", 0.1, &[only("failed early", About::Manifest, nothing)]),
    pair("head", MANIFESTS, "200", 18.0, &[only("any manifest or index", About::Manifest, r::manifest_by_tag)]),
    pair("head", MANIFESTS, "404", 1.5, &[only("unknown manifest", About::UnknownContent, r::unknown_manifest)]),
    pair("put", MANIFESTS, "201", 1.7, PUSHES),
    pair("put", MANIFESTS, "400", 0.02, &[only("missing layer", About::UnknownContent, m::missing_layer)]),
    pair("delete", MANIFESTS, "202", 0.063, DELETIONS),
    pair("delete", MANIFESTS, "404", 0.01, &[only("unknown", About::UnknownContent, r::unknown_manifest)]),
    pair("get", BLOBS, "200", 56.0, &[only("blob", About::Blob, r::blob)]),
    pair("get", BLOBS, "404", 0.2, &[only("unknown blob", About::UnknownContent, r::blob)]),
    pair("head", BLOBS, "200", 16.0, &[only("blob", About::Blob, r::blob)]),
    pair("head", BLOBS, "404", 6.0, &[only("unknown blob", About::UnknownContent, r::blob)]),
    pair("delete", BLOBS, "202", 0.02, &[only("blob", About::SpareLink, u::delete)]),
    pair("post", UPLOADS, "202", 4.9, &[only("start", About::Manifest, nothing)]),
    pair("post", UPLOADS, "201", 0.6, &[only("mount", About::KnownBlob, u::mount)]),
    pair("patch", UPLOAD, "202", 4.9, &[only("chunk", About::Manifest, nothing)]),
    pair("put", UPLOAD, "201", 4.9, COMPLETIONS),
    pair("get", UPLOAD, "204", 0.02, &[only("status", About::Manifest, nothing)]),
    pair("delete", UPLOAD, "204", 0.02, &[only("cancel", About::Manifest, nothing)]),
    pair("get", GITLAB, "200", 1.0, &[only("ping", About::Manifest, nothing)]),
    pair("get", GITLAB_REPOSITORY, "200", 3.0, &[only("details", About::Manifest, r::details)]),
    pair("get", GITLAB_TAGS, "200", 4.0, &[only("tags", About::Manifest, r::tags_of_gitlab)]),
    pair("get", GITLAB_TAG, "200", 1.0, &[only("tag", About::Manifest, r::tag)]),
    pair("get", GITLAB_PATHS, "200", 1.0, &[only("repositories", About::Manifest, r::repositories)]),
    // Nobody measured what it costs: an estimate can only say how much of the traffic it is.
    pair("patch", GITLAB_REPOSITORY, "202", 0.3, &[only("rename, tried only", About::Manifest, r::rename)]),
];

static PUSHES: &[Part] = &[
    Part { name: "new image by tag", share: 0.5, about: About::NewImage, script: m::new_image_by_tag },
    Part { name: "new image by digest", share: 0.1, about: About::NewUntaggedImage, script: m::new_image_by_digest },
    Part { name: "same image and tag again", share: 0.2, about: About::KnownImage, script: m::same_image_by_tag },
    Part { name: "same image by digest again", share: 0.05, about: About::KnownImage, script: m::same_image_by_digest },
    Part { name: "new index by tag", share: 0.1, about: About::NewIndex, script: m::new_index_by_tag },
    Part { name: "new index by digest", share: 0.0, about: About::NewIndex, script: m::new_index_by_digest },
    Part { name: "same index and tag again", share: 0.05, about: About::KnownIndex, script: m::same_index_by_tag },
];

static DELETIONS: &[Part] = &[
    Part { name: "image by digest", share: 0.5, about: About::SpareImage, script: m::delete_image },
    Part { name: "index by digest", share: 0.05, about: About::SpareIndex, script: m::delete_index },
    Part { name: "tag", share: 0.45, about: About::SpareTag, script: m::delete_tag },
];

static COMPLETIONS: &[Part] = &[
    Part { name: "new blob", share: 0.9, about: About::NewBlob, script: u::new_blob },
    Part { name: "known blob", share: 0.09, about: About::KnownBlob, script: u::known_blob },
    Part {
        name: "first blob of a new repository",
        share: 0.01,
        about: About::NewRepository,
        script: u::new_repository,
    },
];

const fn pair(
    method: &'static str,
    handler: &'static str,
    code: &'static str,
    rate: f64,
    kinds: &'static [Part],
) -> Pair {
    Pair { method, handler, code, rate, kinds }
}

const fn only(name: &'static str, about: About, script: fn(Size) -> Script) -> Part {
    Part { name, share: 1.0, about, script }
}

/// Answered without the database.
fn nothing(_: Size) -> Script {
    Script::new()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::load::{script::operations, sent::Operations};

    /// Copied from the measurement: method, route, code, kind, then SELECT with a cold cache, INSERT, UPDATE, DELETE with
    /// L layers and M children.
    fn measured(l: u64, m: u64) -> Vec<(&'static str, &'static str, &'static str, &'static str, [u64; 4])> {
        vec![
            ("get", API, "200", "ping", [0, 0, 0, 0]),
            ("get", CATALOG, "200", "catalog", [2, 0, 0, 0]),
            ("get", TAGS, "200", "tags", [3, 0, 0, 0]),
            ("get", TAGS, "404", "unknown repository", [1, 0, 0, 0]),
            ("get", MANIFESTS, "200", "any manifest or index", [2, 0, 0, 0]),
            ("get", MANIFESTS, "304", "not modified by tag", [2, 0, 0, 0]),
            ("get", MANIFESTS, "404", "unknown manifest", [2, 0, 0, 0]),
            ("head", MANIFESTS, "200", "any manifest or index", [2, 0, 0, 0]),
            ("head", MANIFESTS, "404", "unknown manifest", [2, 0, 0, 0]),
            ("put", MANIFESTS, "201", "new image by tag", [9 + 4 * l, 2 + l, 1, 0]),
            ("put", MANIFESTS, "201", "new image by digest", [6 + 4 * l, 1 + l, 0, 0]),
            ("put", MANIFESTS, "201", "same image and tag again", [7 + l, 1, 1, 0]),
            ("put", MANIFESTS, "201", "same image by digest again", [4 + l, 0, 0, 0]),
            ("put", MANIFESTS, "201", "new index by tag", [7 + 2 * m, 2 + m, 1, 0]),
            ("put", MANIFESTS, "201", "new index by digest", [4 + 2 * m, 1 + m, 0, 0]),
            ("put", MANIFESTS, "201", "same index and tag again", [5 + m, 1, 1, 0]),
            ("put", MANIFESTS, "400", "missing layer", [3, 0, 0, 0]),
            ("delete", MANIFESTS, "202", "image by digest", [2, 0, 0, 1]),
            ("delete", MANIFESTS, "202", "index by digest", [4, 0, 0, 1]),
            ("delete", MANIFESTS, "202", "tag", [3, 0, 0, 1]),
            ("delete", MANIFESTS, "404", "unknown", [2, 0, 0, 0]),
            ("get", BLOBS, "200", "blob", [2, 0, 0, 0]),
            ("get", BLOBS, "404", "unknown blob", [2, 0, 0, 0]),
            ("head", BLOBS, "200", "blob", [2, 0, 0, 0]),
            ("head", BLOBS, "404", "unknown blob", [2, 0, 0, 0]),
            ("delete", BLOBS, "202", "blob", [1, 0, 0, 1]),
            ("post", UPLOADS, "202", "start", [0, 0, 0, 0]),
            ("post", UPLOADS, "201", "mount", [5, 1, 0, 0]),
            ("patch", UPLOAD, "202", "chunk", [0, 0, 0, 0]),
            ("put", UPLOAD, "201", "new blob", [3, 2, 0, 0]),
            ("put", UPLOAD, "201", "known blob", [4, 2, 0, 0]),
            ("put", UPLOAD, "201", "first blob of a new repository", [3, 3, 0, 0]),
            ("get", UPLOAD, "204", "status", [0, 0, 0, 0]),
            ("delete", UPLOAD, "204", "cancel", [0, 0, 0, 0]),
            ("get", GITLAB, "200", "ping", [0, 0, 0, 0]),
            ("get", GITLAB_REPOSITORY, "200", "details", [1, 0, 0, 0]),
            ("get", GITLAB_TAGS, "200", "tags", [4, 0, 0, 0]),
            ("get", GITLAB_TAG, "200", "tag", [2, 0, 0, 0]),
            ("get", GITLAB_PATHS, "200", "repositories", [2, 0, 0, 0]),
        ]
    }

    fn part(method: &str, handler: &str, code: &str, name: &str) -> Option<&'static Part> {
        let pair = PAIRS.iter().find(|pair| (pair.method, pair.handler, pair.code) == (method, handler, code))?;
        pair.kinds.iter().find(|part| part.name == name)
    }

    #[test]
    fn every_kind_costs_what_was_measured_whatever_the_layers_and_children() {
        for (layers, children) in [(10, 2), (1, 1), (37, 5)] {
            for (method, route, code, name, cost) in measured(layers, children) {
                let part = part(method, route, code, name).unwrap_or_else(|| panic!("{method} {route} {code} {name}"));
                let script = (part.script)(Size { layers: layers as usize, children: children as usize });
                assert_eq!(operations(&script), Operations::from(cost), "{method} {route} {code} {name}");
            }
        }
    }

    #[test]
    fn only_refusals_failures_and_the_rename_were_not_measured() {
        let measured = measured(1, 1);
        let known = |pair: &Pair, part: &Part| {
            measured
                .iter()
                .any(|known| (known.0, known.1, known.2, known.3) == (pair.method, pair.handler, pair.code, part.name))
        };
        let size = Size { layers: 1, children: 1 };
        let mut others = Vec::new();
        for pair in PAIRS {
            for part in pair.kinds.iter().filter(|part| !known(pair, part)) {
                others.push((pair.code, operations(&(part.script)(size)).total()));
            }
        }
        assert_eq!(others, [("401", 0), ("401", 0), ("500", 0), ("202", 2)]);
    }

    #[test]
    fn a_second_has_as_many_requests_as_that_of_the_estimate() {
        let requests: f64 = PAIRS.iter().map(|pair| pair.rate).sum();
        assert!((requests - 303.0).abs() < 1.0, "{requests}");
    }
}
