//! Checkers: what must hold after every step, and at the end.

use crate::engine::truth;
use crate::liar::Strategy;
use crate::world::{Pretended, World};
use talkoo_base::{GenerateParams, Network, NodeId, Tier, Work};
use talkoo_job::JobStatus;
use talkoo_proof::limits::{RERUNS_MAX, SALES_MAX};

/// After every step of node `index`.
pub(crate) fn after_step(world: &World<'_>, index: u32) -> Result<(), String> {
    let pretended = &world.nodes[index as usize];
    let Some(node) = &pretended.node else { return Ok(()) };
    let (_, sales, _) = node.proof().open();
    if sales > SALES_MAX + RERUNS_MAX {
        return Err(format!("node {index} has {sales} leases open"));
    }
    for liar in &pretended.convicted {
        let strategy = strategy_of(world, liar);
        if !strategy.is_some_and(Strategy::lies) {
            return Err(format!("node {index} convicted {liar:?}, which is {strategy:?}"));
        }
    }
    Ok(())
}

/// When nothing more happens.
pub(crate) fn at_end(world: &World<'_>) -> Result<(), String> {
    for (index, pretended) in (0u32..).zip(&world.nodes) {
        let Some(node) = &pretended.node else { return Err(format!("node {index} never came back")) };
        let open = node.proof().open();
        if open != (0, 0, 0) {
            return Err(format!("node {index} still has purchases, sales, audits {open:?} open"));
        }
        if index < world.scene.clients {
            jobs(world, index, pretended)?;
            money(world, index, pretended)?;
        }
    }
    Ok(())
}

fn strategy_of(world: &World<'_>, id: &NodeId) -> Option<Strategy> {
    world.nodes.iter().find(|n| n.id == *id).map(|n| n.strategy)
}

/// Every job is over, and no false answer was taken for a true one.
fn jobs(world: &World<'_>, index: u32, client: &Pretended) -> Result<(), String> {
    let Some(node) = &client.node else { return Ok(()) };
    for spec in &client.jobs {
        let Some(job) = node.jobs().get(&spec.id) else { return Err(format!("client {index} lost its job")) };
        if job.status != JobStatus::Finished {
            return Err(format!("client {index}'s job is {:?} at the end", job.status));
        }
        for (number, (step, asked)) in job.steps().iter().zip(&spec.steps).enumerate() {
            let Some(done) = step.done() else {
                return Err(format!("step {number} has no result: {:?}", step.failed()));
            };
            let params = GenerateParams::from_bytes(&asked.params).map_err(|e| e.to_string())?;
            let work = Work {
                kind: spec.kind,
                program: spec.program,
                tier: spec.tier,
                prompt: asked.prompt.clone(),
                params,
                seed: asked.seed,
            };
            let honest = truth(&spec.program, &work) == (done.tokens.clone(), done.finish);
            let worker = strategy_of(world, &done.node);
            // What no scheme can catch: a pair in league, and a patient liar that no coin hit.
            let excused = worker == Some(Strategy::Colluder) || worker == Some(Strategy::LongCon) && !done.audited;
            // Nobody can check the float tier, and nobody may say that he did.
            if spec.tier == Tier::Float && done.audited {
                return Err(format!("step {number} is of the float tier and counts as audited"));
            }
            if !honest && !excused && spec.tier == Tier::Exact {
                return Err(format!("step {number} has a false answer of {worker:?}, audited: {}", done.audited));
            }
        }
    }
    Ok(())
}

/// Nothing is paid twice: a worker holds no more than was signed, and nothing that was not bought.
fn money(world: &World<'_>, index: u32, client: &Pretended) -> Result<(), String> {
    let Some(node) = &client.node else { return Ok(()) };
    let network = Network::local("sim");
    for (worker, account) in node.proof().accounts() {
        if account.deserved > account.signed {
            return Err(format!("client {index} accepted {account:?} of {worker:?}, more than it signed for"));
        }
        let Some(seller) = world.nodes.iter().find(|n| n.id == *worker).and_then(|n| n.node.as_ref()) else {
            continue;
        };
        let received = seller.proof().earnings().find(|(id, _)| **id == client.id).map(|(_, e)| e.received);
        if received.is_some_and(|r| r > account.signed) {
            return Err(format!("{worker:?} holds {received:?} of client {index}, which signed {:?}", account.signed));
        }
        let (payer, operator) = (client.id.address(), worker.address());
        let channel = talkoo_proof::channel(&network, payer, payer, operator, operator).id(&network);
        if world.scene.funded && received.is_some_and(|r| r > world.bank.holds(&channel)) {
            return Err(format!(
                "{worker:?} took {received:?} from a channel that holds {:?}",
                world.bank.holds(&channel)
            ));
        }
    }
    Ok(())
}
