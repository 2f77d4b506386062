//! What is in the database for requests to ask for: repositories that are kept, for requests to read and to push to, and
//! others that are set aside for deletions, so that whatever a request asks for is there.

use std::sync::Arc;

use sqlx::PgConnection;

use super::{Error, spare::Spare};
pub(super) use rows::Found;

mod rows;

/// Where something is.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) namespace_id: i64,
    pub(super) repository_id: i64,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) path: String,
}

/// An image or an index.
#[derive(Clone, Debug)]
pub(super) struct Manifest {
    pub(super) id: i64,
    pub(super) digest: Vec<u8>,
    /// Digest of its configuration; empty where it has none.
    pub(super) config: Vec<u8>,
    /// One that points at it; empty where none does.
    pub(super) tag: String,
}

/// A repository that loses nothing.
#[derive(Debug)]
pub(super) struct Repository {
    pub(super) place: Arc<Place>,
    /// Those with a tag, whose configuration is a blob of the repository: at least one.
    pub(super) images: Vec<Manifest>,
    /// One with a tag.
    pub(super) index: Option<Manifest>,
    /// At least one.
    pub(super) blobs: Vec<Vec<u8>>,
}

/// What is kept.
#[derive(Debug)]
pub(super) struct Sample {
    /// At least one.
    pub(super) repositories: Vec<Repository>,
    /// Where of `repositories` those are that have an index.
    pub(super) with_index: Vec<usize>,
    /// One that manifests and blobs can have.
    pub(super) media_type_id: i16,
    pub(super) media_type: String,
}

// === impl Sample ===

impl Sample {
    /// Reads what is there and divides it: of the repositories that have an index every second one is set aside.
    pub(super) async fn read(connection: &mut PgConnection) -> Result<(Self, Spare), Error> {
        let (media_type_id, media_type) = rows::media_type(connection).await?;
        let mut indexes = 0;
        let (spare, kept): (Vec<_>, Vec<_>) = rows::found(connection).await?.into_iter().partition(|found| {
            let has_index = found.manifests.iter().any(|(_, role)| role.is_index);
            indexes += usize::from(has_index);
            has_index && indexes % 2 == 1
        });
        let repositories: Vec<_> = kept.into_iter().filter_map(Repository::new).collect();
        if repositories.is_empty() {
            return Err(Error::NothingThere("repository with a tagged image"));
        }
        let with_index = (0..repositories.len()).filter(|at| repositories[*at].index.is_some()).collect();
        Ok((Self { repositories, with_index, media_type_id, media_type }, Spare::new(spare)))
    }
}

// === impl Repository ===

impl Repository {
    /// `None` where there is nothing to ask for.
    fn new(found: Found) -> Option<Self> {
        let Found { place, manifests, blobs } = found;
        let (mut images, mut index) = (Vec::new(), None);
        for (manifest, role) in manifests.into_iter().filter(|(manifest, _)| !manifest.tag.is_empty()) {
            if role.is_index {
                index = Some(manifest);
            } else if blobs.contains(&manifest.config) {
                images.push(manifest);
            }
        }
        (!images.is_empty()).then_some(Self { place, images, index, blobs })
    }
}
