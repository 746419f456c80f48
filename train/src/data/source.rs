//! A data set of any kind, by its name or folder, and what a checkpoint says of it.

use std::path::Path;
use std::sync::Arc;

use super::encoded::is_encoded;
use super::{Card, Encoded, EncodedCard, Error, World};
use crate::Result;

/// A world of pixels, or clips that were encoded before.
#[derive(Clone)]
pub enum DataSet {
    /// Built in or imported.
    World(Arc<dyn World>),
    /// Encoded.
    Encoded(Arc<Encoded>),
}

impl DataSet {
    /// Opens a built-in world by its name, or an imported or encoded data set by its folder.
    ///
    /// # Errors
    /// As [`super::open`] and [`Encoded::open`].
    pub fn open(name_or_folder: &str) -> Result<Self, Error> {
        let folder = Path::new(name_or_folder);
        if is_encoded(folder) {
            return Ok(DataSet::Encoded(Arc::new(Encoded::open(folder)?)));
        }
        Ok(DataSet::World(Arc::from(super::open(name_or_folder)?)))
    }
}

/// What a checkpoint says of its data.
#[derive(Clone, Debug, PartialEq)]
pub enum DataCard {
    /// Of a world.
    World(Card),
    /// Of an encoded data set.
    Encoded(EncodedCard),
}

/// A [`DataCard`] that somebody else has.
#[derive(Clone, Copy, Debug)]
pub enum CardRef<'a> {
    /// Of a world.
    World(&'a Card),
    /// Of an encoded data set.
    Encoded(&'a EncodedCard),
}

impl CardRef<'_> {
    /// Writes the card into a checkpoint's folder.
    ///
    /// # Errors
    /// The system's refusals.
    pub fn write(self, folder: &Path) -> Result<()> {
        match self {
            CardRef::World(card) => card.write(folder),
            CardRef::Encoded(card) => card.write(folder),
        }
    }
}

impl<'a> From<&'a Card> for CardRef<'a> {
    fn from(card: &'a Card) -> Self {
        CardRef::World(card)
    }
}

impl<'a> From<&'a DataCard> for CardRef<'a> {
    fn from(card: &'a DataCard) -> Self {
        match card {
            DataCard::World(card) => CardRef::World(card),
            DataCard::Encoded(card) => CardRef::Encoded(card),
        }
    }
}
