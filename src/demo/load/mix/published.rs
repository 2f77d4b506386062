//! The mix of the published estimate of 2020: its request rates, recovered from its tables, and for each kind of request
//! the statements that it lists.

use super::{About, Pair, Part};
use crate::demo::load::{
    query::{blobs, manifests, repositories, tags},
    script::{Script, Size, Step},
};

pub(super) static PAIRS: &[Pair] = &[
    pair("get", "manifest", "200", 141.142142956933, &[only("download", About::Manifest, download_manifest)]),
    pair("get", "blob", "200", 73.517752111191, &[only("download", About::Blob, find_blob)]),
    pair("get", "tags", "200", 52.217092771326, &[only("list", About::Manifest, list_tags)]),
    pair("head", "blob", "200", 21.364894662906, &[only("check", About::Blob, find_blob)]),
    pair("head", "manifest", "200", 7.88989499015, &[only("check", About::Manifest, find_manifest)]),
    pair("put", "blob_upload_chunk", "201", 4.920036355851, &[only("complete", About::NewBlob, complete_upload)]),
    pair("put", "manifest", "201", 1.69934945905, &[only("upload", About::NewImage, upload_manifest)]),
    pair("get", "catalog", "200", 0.0, &[only("list", About::Manifest, list_catalog)]),
    pair("delete", "manifest", "202", 0.031719650298, &[only("delete", About::SpareImage, delete_manifest)]),
    pair("delete", "tag", "202", 0.031306188318, &[only("delete", About::SpareTag, delete_tag)]),
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

fn download_manifest(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_BY_PATH), Step::found(&tags::FIND_BY_NAME), Step::found(&manifests::OF_TAG)]
}

fn find_manifest(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_BY_PATH), Step::found(&manifests::FIND_BY_DIGEST)]
}

fn find_blob(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_BY_PATH), Step::found(&blobs::EXISTS)]
}

fn list_tags(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_BY_PATH), Step::found(&tags::PAGINATED)]
}

fn list_catalog(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_ALL_PAGINATED)]
}

/// The repository is there, so it is not made but found: the worst case.
fn complete_upload(_: Size) -> Script {
    vec![
        Step::absent(&repositories::CREATE_2020),
        Step::found(&repositories::FIND_BY_PATH),
        Step::found(&blobs::CREATE_OR_FIND),
        Step::found(&blobs::LINK),
    ]
}

/// Whatever the number of layers: the estimate counts one.
fn upload_manifest(_: Size) -> Script {
    vec![
        Step::absent(&repositories::CREATE_2020),
        Step::found(&repositories::FIND_BY_PATH),
        Step::found(&manifests::CREATE_OR_FIND),
        Step::found(&manifests::ASSOCIATE_LAYER),
        Step::found(&tags::CREATE_OR_UPDATE),
    ]
}

fn delete_manifest(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_BY_PATH), Step::found(&manifests::DELETE)]
}

fn delete_tag(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_BY_PATH), Step::found(&tags::DELETE)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::load::{script::operations, sent::Operations};

    #[test]
    fn every_kind_costs_what_the_estimate_lists() {
        // Copied from its table: SELECT, INSERT, UPDATE, DELETE.
        let listed = [
            ("get manifest", [3, 0, 0, 0]),
            ("get blob", [2, 0, 0, 0]),
            ("get tags", [2, 0, 0, 0]),
            ("head blob", [2, 0, 0, 0]),
            ("head manifest", [2, 0, 0, 0]),
            ("put blob_upload_chunk", [1, 3, 0, 0]),
            ("put manifest", [1, 4, 0, 0]),
            ("get catalog", [1, 0, 0, 0]),
            ("delete manifest", [1, 0, 0, 1]),
            ("delete tag", [1, 0, 0, 1]),
        ];
        assert_eq!(listed.len(), PAIRS.len());
        for (pair, (name, cost)) in PAIRS.iter().zip(listed) {
            assert_eq!(format!("{} {}", pair.method, pair.handler), name);
            let [part] = pair.kinds else { panic!("{name} has one kind") };
            let script = (part.script)(Size { layers: 10, children: 2 });
            assert_eq!(operations(&script), Operations::from(cost), "{name}");
        }
    }

    #[test]
    fn a_second_has_303_requests_and_762_statements() {
        let requests: f64 = PAIRS.iter().map(|pair| pair.rate).sum();
        assert_eq!(requests.round(), 303.0);
        let size = Size { layers: 10, children: 2 };
        let cost = |pair: &Pair| operations(&(pair.kinds[0].script)(size)).total() as f64;
        let statements: f64 = PAIRS.iter().map(|pair| pair.rate * cost(pair)).sum();
        assert_eq!(statements.round(), 762.0);
    }
}
