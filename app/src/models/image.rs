//! Images of models: their packed matrices beside the file, so that the next start is quick. Only in the
//! folders of ours; a user's own file gets no neighbour.

use super::cache_dir;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use talkoo_engine::{KvFormat, Model, ModelError};

/// End of an image's name; it takes the place of the model file's.
pub(super) const EXTENSION: &str = "packed";

/// Where the image of a model file stands.
pub(crate) fn image_of(file: &Path) -> PathBuf {
    file.with_extension(EXTENSION)
}

/// Whether images may stand beside this file.
fn is_ours(file: &Path, data_dir: &Path) -> bool {
    file.parent().is_some_and(|folder| folder == cache_dir() || folder == data_dir.join("models"))
}

/// Writes the image of a model that has none. It is a matter of speed alone, so what fails is only logged.
pub(crate) fn save(model: &Model, file: &Path) {
    if let Err(why) = model.save_image(&image_of(file)) {
        tracing::debug!(file = %file.display(), %why, "no image could be written");
    }
}

/// A model, and the thread that writes its image meanwhile; it is waited for at the end.
pub(crate) struct Opened {
    model: Arc<Model>,
    saving: Option<JoinHandle<()>>,
}

impl Opened {
    /// Loads a model file for a command.
    pub(crate) fn open(file: &Path, data_dir: &Path, kv: KvFormat) -> Result<Self, ModelError> {
        if !is_ours(file, data_dir) {
            return Ok(Self { model: Arc::new(Model::load(file)?.with_kv(kv)), saving: None });
        }
        let model = Arc::new(Model::load_with(file, &image_of(file))?.with_kv(kv));
        let (own, file) = (model.clone(), file.to_owned());
        Ok(Self { model, saving: Some(std::thread::spawn(move || save(&own, &file))) })
    }
}

impl Deref for Opened {
    type Target = Arc<Model>;

    fn deref(&self) -> &Arc<Model> {
        &self.model
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        if let Some(saving) = self.saving.take() {
            saving.join().ok();
        }
    }
}
