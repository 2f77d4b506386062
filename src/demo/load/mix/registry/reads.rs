//! Requests that change nothing.

use crate::demo::load::{
    query::{blobs, manifests, repositories, tags},
    script::{Script, Size, Step},
};

pub fn catalog(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_ALL_PAGINATED), Step::found(&repositories::COUNT_AFTER_PATH)]
}

pub fn tags(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_BY_PATH), Step::found(&tags::PAGINATED), Step::sent(&tags::COUNT_AFTER_NAME)]
}

pub fn unknown_repository(_: Size) -> Script {
    vec![Step::absent(&repositories::FIND_BY_PATH)]
}

pub fn manifest_by_digest(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_BY_PATH), Step::found(&manifests::FIND_BY_DIGEST)]
}

pub fn manifest_by_tag(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_BY_PATH), Step::found(&manifests::FIND_BY_TAG)]
}

pub fn unknown_manifest(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_BY_PATH), Step::absent(&manifests::FIND_BY_DIGEST)]
}

/// Whether it is there is a row too.
pub fn blob(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_BY_PATH), Step::found(&blobs::EXISTS)]
}

pub fn details(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_BY_PATH)]
}

pub fn tags_of_gitlab(_: Size) -> Script {
    vec![
        Step::found(&repositories::FIND_BY_PATH),
        Step::found(&tags::DETAIL_PAGINATED),
        Step::sent(&tags::COUNT_AFTER_NAME),
        Step::sent(&tags::COUNT_BEFORE_NAME),
    ]
}

pub fn tag(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_BY_PATH), Step::found(&tags::DETAIL)]
}

pub fn repositories(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_NAMESPACE), Step::found(&repositories::FIND_PAGINATED_FOR_PATH)]
}

pub fn rename(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_BY_PATH), Step::found(&repositories::COUNT_SUB_REPOSITORIES)]
}
