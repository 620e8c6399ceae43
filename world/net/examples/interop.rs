//! A bare peer for trying our bitswap against kubo and Helia: serves one file, then obeys its input.
//!
//! `interop FILE`, then lines: `dial ADDR`, `fetch CID OUT`, `quit`.
#![allow(clippy::print_stdout, reason = "this program's only purpose is to print")]

mod memory;

use memory::Memory;
use std::io::BufRead;
use std::sync::Arc;
use std::time::Instant;
use talkoo_base::Cid;
use talkoo_net::{BlockStore, FetchOptions, Net, NetConfig};
use talkoo_store::Block;
use talkoo_store::unixfs::{Importer, Profile, Reader};
use tokio::sync::mpsc;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let store = Arc::new(Memory::default());
    let file = std::env::args().nth(1).ok_or("usage: interop FILE")?;
    let (mut importer, mut keep) = (Importer::new(Profile::default()), |block: Block| store.put(&[block]));
    importer.push(&std::fs::read(file)?, &mut keep)?;
    println!("root {}", importer.finish(&mut keep)?.cid);
    let (events, mut inbox) = mpsc::channel(64);
    tokio::spawn(async move { while inbox.recv().await.is_some() {} });
    let net = Net::start(NetConfig::loopback([7; 32], "interop"), store.clone(), events).await?;
    for addr in net.addresses() {
        println!("listen {addr}");
    }
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            // A peer of IPFS is no node of ours, and says so; the connection stays for bitswap.
            ["dial", addr] => println!("dial {:?}", net.dial(addr.parse()?).await),
            ["fetch", cid, out] => {
                let (root, start) = (cid.parse::<Cid>()?, Instant::now());
                let fetched = net.fetch(root, FetchOptions::default(), |_| {}).await?;
                let rate = fetched.bytes as f64 / 1e6 / start.elapsed().as_secs_f64();
                println!("fetch {fetched:?} {rate:.0} MB/s");
                let (mut reader, mut content) = (Reader::new(root), Vec::new());
                while let Some(leaf) = reader.next(&mut |cid| Ok::<_, std::convert::Infallible>(store.get(cid)))? {
                    content.extend_from_slice(&leaf);
                }
                std::fs::write(out, content)?;
            }
            ["quit"] => break,
            _ => println!("dial ADDR, fetch CID OUT or quit"),
        }
    }
    net.shutdown().await;
    Ok(())
}
