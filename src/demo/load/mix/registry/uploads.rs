//! Blobs that come, are known already, are mounted or go.

use crate::demo::load::{
    query::{blobs, repositories},
    script::{Script, Size, Step},
};

pub fn new_blob(_: Size) -> Script {
    let mut script = repository();
    script.extend(media_type());
    script.extend([Step::found(&blobs::CREATE_OR_FIND), Step::found(&blobs::LINK)]);
    script
}

/// It is not made but found; its repository may know it too.
pub fn known_blob(_: Size) -> Script {
    let mut script = repository();
    script.extend(media_type());
    script.extend([
        Step::absent(&blobs::CREATE_OR_FIND),
        Step::found(&blobs::FIND_BY_DIGEST),
        Step::sent(&blobs::LINK),
    ]);
    script
}

pub fn new_repository(_: Size) -> Script {
    let mut script = find_namespace();
    script.extend([
        Step::Wrapper("repository_create_or_find_by_path"),
        Step::absent(&repositories::FIND_BY_PATH),
        Step::found(&repositories::CREATE_OR_FIND),
    ]);
    script.extend(media_type());
    script.extend([Step::found(&blobs::CREATE_OR_FIND), Step::found(&blobs::LINK)]);
    script
}

pub fn mount(_: Size) -> Script {
    let mut script = vec![
        Step::found(&repositories::FIND_SOURCE),
        Step::found(&blobs::EXISTS_IN_SOURCE),
        Step::found(&blobs::FIND_BY_DIGEST),
    ];
    script.extend(repository());
    script.push(Step::sent(&blobs::LINK));
    script
}

pub fn delete(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_BY_PATH), Step::found(&blobs::UNLINK)]
}

/// A repository that is there, found as one that may have to be made.
fn repository() -> Script {
    let mut script = find_namespace();
    script.extend([Step::Wrapper("repository_create_or_find_by_path"), Step::found(&repositories::FIND_BY_PATH)]);
    script
}

fn find_namespace() -> Script {
    vec![Step::Wrapper("namespace_safe_find_or_create"), Step::found(&repositories::FIND_NAMESPACE)]
}

fn media_type() -> [Step; 2] {
    [Step::Wrapper("media_type_safe_find_or_create_id"), Step::found(&blobs::MEDIA_TYPE_FIND)]
}
