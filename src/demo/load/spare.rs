//! What deletions may take: at first rows that were set aside, then what the load itself pushed. Nothing here is read
//! by any other request, so whatever is taken is there.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fastrand::Rng;

use super::{mix::About, request::Request, sample::Found};

/// Of each sort; what is pushed beyond it stays for ever. Bounds the memory of a load that runs for weeks.
const ROOM: usize = 10_000;

/// Sorts of what can be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shelf {
    Images,
    Indexes,
    Tags,
    /// Links between repositories and blobs.
    Links,
}

/// All of it. The lock is held for one look, never across an await.
#[derive(Debug)]
pub(super) struct Spare(Mutex<[Vec<Request>; 4]>);

// === impl Shelf ===

impl Shelf {
    /// What a request takes that is about this.
    pub(super) fn taken_by(about: About) -> Option<Self> {
        match about {
            About::SpareImage => Some(Self::Images),
            About::SpareIndex => Some(Self::Indexes),
            About::SpareTag => Some(Self::Tags),
            About::SpareLink => Some(Self::Links),
            _ => None,
        }
    }

    /// For messages.
    pub(super) fn what(self) -> &'static str {
        match self {
            Self::Images => "image that may be deleted",
            Self::Indexes => "index that may be deleted",
            Self::Tags => "tag that may be deleted",
            Self::Links => "blob that may be unlinked",
        }
    }
}

// === impl Spare ===

impl Spare {
    /// All that these repositories have. Of a tag and its image one can be deleted, not both: the look-up of a tag needs
    /// the image, and that of an image's children needs them.
    pub(super) fn new(found: Vec<Found>) -> Self {
        let spare = Self(Mutex::default());
        for Found { place, manifests, blobs } in found {
            for (manifest, role) in manifests {
                let shelf = match (role.is_index, manifest.tag.is_empty()) {
                    (true, _) => Shelf::Indexes,
                    (false, false) => Shelf::Tags,
                    (false, true) if role.is_child => continue,
                    (false, true) => Shelf::Images,
                };
                spare.add(shelf, Request::about(&place, &manifest));
            }
            for digest in blobs {
                spare.add(Shelf::Links, Request::about_blob(&place, digest));
            }
        }
        spare
    }

    /// Adds what a request pushed. An image with a tag can lose its tag or go itself: half of them do each.
    pub(super) fn pushed(&self, about: About, request: Request, rng: &mut Rng) {
        let shelf = match about {
            About::NewImage if rng.bool() => Shelf::Tags,
            About::NewImage | About::NewUntaggedImage => Shelf::Images,
            About::NewIndex => Shelf::Indexes,
            About::NewBlob => Shelf::Links,
            _ => return,
        };
        self.add(shelf, request.into_spare());
    }

    /// Takes any one; `None` when nothing is left.
    pub(super) fn take(&self, shelf: Shelf, rng: &mut Rng) -> Option<Request> {
        let shelf = &mut self.lock()[shelf as usize];
        (!shelf.is_empty()).then(|| shelf.swap_remove(rng.usize(..shelf.len())))
    }

    fn add(&self, shelf: Shelf, request: Request) {
        let shelf = &mut self.lock()[shelf as usize];
        if shelf.len() < ROOM {
            shelf.push(request);
        }
    }

    /// An addition or removal is whole or has not begun, so a panic elsewhere takes nothing from it.
    fn lock(&self) -> MutexGuard<'_, [Vec<Request>; 4]> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
