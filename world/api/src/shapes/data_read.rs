//! Finding published data, and reading parts of what was bought.

use utoipa::ToSchema;

/// What to look for.
#[derive(ToSchema)]
pub struct DataSearchAsk {
    /// Words, all of which have to be said of it.
    #[schema(max_length = 1024)]
    pub words: Option<String>,
    /// The most that are told.
    #[schema(minimum = 1, maximum = 50)]
    pub limit: Option<u32>,
}

/// Published data.
#[derive(ToSchema)]
pub struct DataFound {
    /// One for each version.
    pub data: Vec<FoundData>,
}

/// A published version that was found.
#[derive(ToSchema)]
pub struct FoundData {
    /// The version.
    pub id: String,
    /// Number of its asset.
    pub asset: String,
    /// Name for programs.
    pub name: String,
    /// Title for people.
    pub title: String,
    /// What it is.
    pub description: String,
    /// Address of its owner.
    pub owner: String,
    /// Its licence.
    pub licence: String,
    /// `file` or `folder`, in the store's words.
    pub kind: String,
    /// Bytes, sealed.
    pub bytes: u64,
    /// Price in tokens of money, if it is for sale.
    pub price: Option<String>,
}

/// Which part.
#[derive(ToSchema)]
pub struct DataReadAsk {
    /// Version, or `#` and the number of a grant.
    #[schema(max_length = 256)]
    pub id: String,
    /// Of a folder: which file; left out, its files are listed.
    #[schema(max_length = 4096)]
    pub file: Option<String>,
    /// From which byte on.
    pub offset: Option<u64>,
    /// The most bytes.
    pub bytes: Option<u64>,
}

/// A part, or what files there are.
#[derive(ToSchema)]
pub struct DataPart {
    /// From which byte on.
    pub offset: Option<u64>,
    /// Bytes of the whole.
    pub total_bytes: Option<u64>,
    /// Where the next part begins.
    pub next: Option<u64>,
    /// The part, if it is text.
    pub text: Option<String>,
    /// The part, if it is not.
    pub base64: Option<String>,
    /// Files of a folder.
    pub files: Option<Vec<DataFile>>,
}

/// A file of a folder.
#[derive(ToSchema)]
pub struct DataFile {
    /// Its path.
    pub file: String,
    /// Its bytes.
    pub bytes: u64,
}
