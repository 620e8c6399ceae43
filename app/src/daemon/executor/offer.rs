//! What a model does on this machine, once its engine is known to give the right numbers.

use super::loaded::run_failed;
use std::ops::ControlFlow;
use talkoo_base::{Digest, GenerateParams, ModelOffer, Refusal, RefusalCode, Tier};
use talkoo_engine::{Engine, Kernel, Task};

/// Output tokens of the self-test: every kernel runs, and it costs a fraction of a second.
const SELF_TEST_TOKENS: u32 = 2;

/// Tests and measures the model that is known by `root`.
///
/// # Errors
/// If this machine computes other numbers than the portable kernels.
pub(super) fn offer(root: Digest, engine: &mut Engine) -> Result<ModelOffer, Refusal> {
    self_test(engine)?;
    let speed = engine.measure();
    Ok(ModelOffer {
        program: root,
        tier: Tier::Exact,
        context: engine.model().context_max(),
        prefill_mtps: speed.prefill_milli_tps,
        decode_mtps: speed.decode_milli_tps,
    })
}

/// Runs a few tokens with the kernels that will be used and with the portable ones: a machine whose
/// vector units or memory compute other numbers must not offer, for it would be convicted for them.
fn self_test(engine: &mut Engine) -> Result<(), Refusal> {
    let params = GenerateParams { max_tokens: SELF_TEST_TOKENS, ignore_eos: true, ..GenerateParams::default() };
    let task = Task { prompt: (1..9).collect(), params, seed: 1, trace_id: Digest::ZERO };
    let mut portable = Engine::with_kernel(engine.model().clone(), 1, Kernel::Scalar);
    let run = |engine: &mut Engine| {
        engine.generate(&task, &mut |_| (), &mut |_| ControlFlow::Continue(())).map_err(|e| run_failed(&e))
    };
    if run(engine)? == run(&mut portable)? {
        return Ok(());
    }
    let message = format!("the {} kernels and the portable ones give different numbers", engine.kernel_name());
    Err(Refusal::new(RefusalCode::SelfTestFailed, message, "test this machine's memory; it offers nothing until then"))
}
