//! Pushes and deletions of images, indexes and tags. The repository is looked up once: the cache that is cold before a
//! request is not within it.

use crate::demo::load::{
    query::{blobs, manifests, repositories, tags},
    script::{Script, Size, Step},
};

pub fn new_image_by_tag(size: Size) -> Script {
    [new_image_by_digest(size), tag()].concat()
}

pub fn new_image_by_digest(size: Size) -> Script {
    let mut script = validate_image(size);
    script.extend([Step::found(&blobs::FIND_CONFIG), Step::absent(&manifests::FIND_BY_DIGEST)]);
    // Of the manifest, and of its configuration.
    script.extend(media_type());
    script.extend(media_type());
    script.push(Step::found(&manifests::CREATE_OR_FIND));
    for layer in 0..size.layers {
        script.extend([Step::found(&blobs::FIND_LAYER).nth(layer), Step::found(&blobs::MEDIA_TYPE_EXISTS)]);
        script.extend(media_type());
        // The images of the load take their layers from few blobs: the same one may come twice.
        script.push(Step::sent(&manifests::ASSOCIATE_LAYER).nth(layer));
    }
    script
}

pub fn same_image_by_tag(size: Size) -> Script {
    [same_image_by_digest(size), tag_again()].concat()
}

pub fn same_image_by_digest(size: Size) -> Script {
    let mut script = validate_image(size);
    script.extend([Step::found(&blobs::FIND_CONFIG), Step::found(&manifests::FIND_BY_DIGEST)]);
    script
}

pub fn missing_layer(_: Size) -> Script {
    vec![Step::found(&repositories::FIND_BY_PATH), Step::found(&blobs::FIND_CONFIG), Step::absent(&blobs::FIND_DIGEST)]
}

pub fn new_index_by_tag(size: Size) -> Script {
    [new_index_by_digest(size), tag()].concat()
}

pub fn new_index_by_digest(size: Size) -> Script {
    let mut script = vec![Step::found(&repositories::FIND_BY_PATH)];
    script.extend(children(size));
    script.push(Step::absent(&manifests::FIND_BY_DIGEST));
    script.extend(children(size));
    script.extend([Step::Begin, Step::sent(&manifests::LOCK_REVIEWS)]);
    script.extend(media_type());
    script.push(Step::found(&manifests::CREATE_INDEX));
    script.extend((0..size.children).map(|child| Step::sent(&manifests::ASSOCIATE_CHILD).nth(child)));
    script.push(Step::Commit);
    script
}

pub fn same_index_by_tag(size: Size) -> Script {
    let mut script = vec![Step::found(&repositories::FIND_BY_PATH)];
    script.extend(children(size));
    script.push(Step::found(&manifests::FIND_BY_DIGEST));
    script.extend(tag_again());
    script
}

pub fn delete_image(_: Size) -> Script {
    vec![
        Step::found(&repositories::FIND_BY_PATH),
        Step::found(&manifests::FIND_BY_DIGEST),
        Step::Begin,
        Step::found(&manifests::DELETE),
        Step::Commit,
    ]
}

pub fn delete_index(_: Size) -> Script {
    vec![
        Step::found(&repositories::FIND_BY_PATH),
        Step::found(&manifests::FIND_BY_DIGEST),
        Step::Begin,
        Step::found(&manifests::REFERENCES),
        Step::sent(&manifests::LOCK_REVIEWS),
        Step::found(&manifests::DELETE),
        Step::Commit,
    ]
}

pub fn delete_tag(_: Size) -> Script {
    vec![
        Step::found(&repositories::FIND_BY_PATH),
        Step::found(&manifests::FIND_BY_TAG),
        Step::Begin,
        Step::sent(&manifests::LOCK_REVIEW),
        Step::found(&tags::DELETE),
        Step::Commit,
    ]
}

/// The configuration and the layers must be there.
fn validate_image(size: Size) -> Script {
    let mut script = vec![Step::found(&repositories::FIND_BY_PATH), Step::found(&blobs::FIND_CONFIG)];
    script.extend((0..size.layers).map(|layer| Step::found(&blobs::FIND_LAYER).nth(layer)));
    script
}

fn children(size: Size) -> impl Iterator<Item = Step> {
    (0..size.children).map(|child| Step::found(&manifests::FIND_CHILD).nth(child))
}

fn media_type() -> [Step; 2] {
    [Step::Wrapper("media_type_safe_find_or_create_id"), Step::found(&blobs::MEDIA_TYPE_FIND)]
}

/// A tag that is not there yet.
fn tag() -> Script {
    vec![
        Step::found(&manifests::FIND_BY_DIGEST),
        Step::Begin,
        Step::sent(&manifests::LOCK_REVIEW),
        Step::absent(&manifests::FIND_BY_TAG),
        Step::found(&tags::CREATE_OR_UPDATE),
        Step::found(&repositories::UPDATE_LAST_PUBLISHED_AT),
        Step::Commit,
    ]
}

/// A tag that points there already: it stays as it is.
fn tag_again() -> Script {
    vec![
        Step::found(&manifests::FIND_BY_DIGEST),
        Step::Begin,
        Step::sent(&manifests::LOCK_REVIEW),
        Step::found(&manifests::FIND_BY_TAG),
        Step::absent(&tags::CREATE_OR_UPDATE),
        Step::found(&repositories::UPDATE_LAST_PUBLISHED_AT),
        Step::Commit,
    ]
}
