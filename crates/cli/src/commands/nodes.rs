//! `ebb nodes`, `ebb drain`, `ebb undrain`, `ebb cost`.

use api::view::NodeView;
use model::NodeId;
use serde::Serialize;

use super::Client;
use crate::args;
use crate::error::{Exit, Failure};
use crate::output::{Answer, Look};
use crate::selector::node_prefix;

pub(crate) async fn nodes(client: &Client, args: &args::Nodes) -> Result<Exit, Failure> {
    let items = client.remote.nodes(args.all).await?;
    let page = api::view::Page { items, next_cursor: None };
    client.screen.show(&page)?;
    Ok(Exit::Ok)
}

/// Whether a node gets new work.
#[derive(Debug, Serialize)]
pub(crate) struct Drained {
    pub(crate) node: NodeId,
    pub(crate) drain: bool,
}

impl Answer for Drained {
    fn text(&self, _look: Look) -> String {
        let Self { node, drain } = self;
        if *drain {
            format!("{node} gets no new work; what runs may end\nback: ebb undrain {node}")
        } else {
            format!("{node} gets work again")
        }
    }
}

/// Drains, or takes that back.
pub(crate) async fn drain(client: &Client, text: &str, drain: bool) -> Result<Exit, Failure> {
    let node = find(client, text).await?;
    client.remote.drain(node, drain).await?;
    client.screen.show(&Drained { node, drain })?;
    Ok(Exit::Ok)
}

pub(crate) async fn cost(client: &Client) -> Result<Exit, Failure> {
    let cost = client.remote.cost().await?;
    client.screen.show(&cost)?;
    Ok(Exit::Ok)
}

/// The node that the text names.
pub(crate) async fn find(client: &Client, text: &str) -> Result<NodeId, Failure> {
    match text.parse() {
        Ok(id) => Ok(id),
        Err(_) => pick(text, &client.remote.nodes(false).await?),
    }
}

/// By name, else by the beginning of the id.
fn pick(text: &str, nodes: &[NodeView]) -> Result<NodeId, Failure> {
    let prefix = node_prefix(text);
    let named = nodes.iter().filter(|node| node.name.as_deref() == Some(text));
    let begun = nodes.iter().filter(|node| prefix.as_ref().is_some_and(|p| node.id.starts_with(p)));
    let mut ids: Vec<NodeId> = named.filter_map(|node| node.id.parse().ok()).collect();
    if ids.is_empty() {
        ids = begun.filter_map(|node| node.id.parse().ok()).collect();
    }
    match ids[..] {
        [id] => Ok(id),
        [] => {
            Err(Failure::not_found(format!("no node is or begins with `{text}`")).next("ebb nodes"))
        }
        ref many => Err(Failure::usage(format!("{} nodes match `{text}`", many.len()))
            .next("name one of them by its id, from: ebb nodes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_node_is_named_by_name_or_prefix() {
        let nodes = samples::nodes();
        let pick = |text: &str| pick(text, &nodes).map_err(|failure| failure.exit().code());
        assert_eq!(pick("desk"), Ok(NodeId::from_number(4)));
        assert_eq!(pick("0000000000003"), Ok(NodeId::from_number(3)));
        assert_eq!(pick("node_0"), Err(2));
        assert_eq!(pick("roof"), Err(3));
    }
}
