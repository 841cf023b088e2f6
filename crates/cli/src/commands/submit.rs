//! `ebb submit`.

use super::{Client, now, wait};
use crate::args;
use crate::error::{Exit, Failure};
use crate::jobfile;
use crate::render;

pub(crate) async fn submit(client: &Client, args: &args::Submit) -> Result<Exit, Failure> {
    let document = jobfile::read(&args.file)?;
    let submitted = client.remote.submit(&document, args.idempotency_key.as_deref()).await?;
    if !args.wait {
        client.screen.show(&submitted, |_| {
            format!("{} with {} tasks; ebb wait {0}", submitted.id, submitted.tasks)
        })?;
        return Ok(Exit::Ok);
    }
    if client.screen.live {
        client.screen.say(&format!("{} with {} tasks", submitted.id, submitted.tasks));
    }
    let details = wait::until_settled(client, &[submitted.id], None).await?;
    let mut exit = Exit::Ok;
    for detail in details {
        exit = wait::exit_of(std::slice::from_ref(&detail.job));
        client.screen.show(&detail, |paint| render::job(&detail, now(), paint))?;
    }
    Ok(exit)
}
