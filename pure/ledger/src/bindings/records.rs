//! Records of `talkoo_base`, as the contracts take them.

use super::{ChannelConfig, Limits, Price, Receipt, Request, Vote};

impl From<&talkoo_base::ChannelConfig> for ChannelConfig {
    fn from(config: &talkoo_base::ChannelConfig) -> Self {
        let delay = alloy_primitives::aliases::U40::from(config.withdraw_delay);
        Self {
            payer: config.payer.0.into(),
            payerAuthorizer: config.payer_authorizer.0.into(),
            receiver: config.receiver.0.into(),
            receiverAuthorizer: config.receiver_authorizer.0.into(),
            token: config.token.0.into(),
            withdrawDelay: delay,
            salt: config.salt.0.into(),
        }
    }
}

impl From<&talkoo_base::Vote> for Vote {
    fn from(vote: &talkoo_base::Vote) -> Self {
        let vote_type = match vote.kind {
            talkoo_base::VoteKind::Prevote => 1,
            talkoo_base::VoteKind::Precommit => 2,
        };
        Self { voteType: vote_type, height: vote.height, round: vote.round.into(), blockHash: vote.block.0.into() }
    }
}

impl From<&talkoo_base::Request> for Request {
    fn from(request: &talkoo_base::Request) -> Self {
        let (limits, price) = (request.limits, request.price);
        Self {
            version: request.version,
            kind: request.kind as u8,
            job: request.job.0.into(),
            program: request.program.0.into(),
            inputs: request.inputs.iter().map(|input| input.0.into()).collect(),
            params: request.params.clone().into(),
            limits: Limits {
                inputUnits: limits.input_units,
                outputUnits: limits.output_units,
                stateBytes: limits.state_bytes,
            },
            seed: request.seed,
            auditCommit: request.audit_commit.0.into(),
            audit: request.audit as u8,
            price: Price { input: price.input, output: price.output },
            deadline: request.deadline.0,
            worker: request.worker.0.into(),
            channelId: request.channel.0.into(),
        }
    }
}

impl From<&talkoo_base::Receipt> for Receipt {
    fn from(receipt: &talkoo_base::Receipt) -> Self {
        Self {
            version: receipt.version,
            tier: receipt.tier as u8,
            requestHash: receipt.request.0.into(),
            unit: receipt.unit as u8,
            units: receipt.units,
            outputRoot: receipt.output_root.0.into(),
            traceRoot: receipt.trace_root.0.into(),
            buildHash: receipt.build.0.into(),
            operator: receipt.operator.0.into(),
            node: receipt.node.0.into(),
            channelId: receipt.channel.0.into(),
            cumulative: receipt.cumulative.0,
            finish: receipt.finish as u8,
        }
    }
}
