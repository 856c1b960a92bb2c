//! `dermafuse recipes`: the recipes that ship.

use std::collections::BTreeMap;

use clap::Args;
use dermafuse::recipes::Recipe;
use serde_json::json;

use crate::failure::ProgramResult;
use crate::terminal::say;

/// List the recipes that ship, with their rows, or print one as a file to start from.
#[derive(Args, Clone, Debug)]
pub(crate) struct Recipes {
    /// Print the text of this recipe
    name: Option<String>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Recipes) -> ProgramResult {
    if let Some(name) = &arguments.name {
        let Some(text) = Recipe::shipped_text(name) else {
            return Err(
                format!("there is no recipe `{name}`; the recipes are {}", Recipe::shipped_names().join(", ")).into()
            );
        };
        say!("{}", text.trim_end());
        return Ok(());
    }
    let recipes = Recipe::shipped_names().into_iter().filter_map(|name| Some((name, Recipe::shipped(name)?)));
    if arguments.json {
        let recipes: Vec<_> = recipes
            .map(|(name, recipe)| {
                let rows: Vec<&str> = recipe.rows().iter().map(|row| row.name.as_str()).collect();
                let about = recipe.about();
                let (groups, default) = recipe.row_groups();
                let groups: BTreeMap<&str, Vec<&str>> = groups
                    .into_iter()
                    .filter_map(|group| Some((group, recipe.compared_rows(Some(group)).ok()?)))
                    .collect();
                json!({
                    "name": name,
                    "paper": about.paper,
                    "summary": about.summary,
                    "rows": rows,
                    "groups": groups,
                    "compared": default,
                    "protocols": recipe.protocols(),
                })
            })
            .collect();
        say!("{}", serde_json::to_string_pretty(&recipes)?);
        return Ok(());
    }
    for (name, recipe) in recipes {
        let about = recipe.about();
        say!("{name:<18}{}\n{:<18}{}", about.summary, "", about.paper);
        if !recipe.rows().is_empty() {
            // Names hold commas.
            let rows: Vec<String> = recipe.rows().iter().map(|row| format!("\"{}\"", row.name)).collect();
            say!("{:<18}rows: {}", "", rows.join(", "));
        }
        let (groups, default) = recipe.row_groups();
        if groups.len() > 1 {
            let counted = groups.iter().map(|group| {
                let rows = recipe.compared_rows(Some(group)).map_or(0, |rows| rows.len());
                format!("{group} ({rows}{})", if *group == default { ", compared unless told otherwise" } else { "" })
            });
            say!("{:<18}groups: {}", "", counted.collect::<Vec<_>>().join(", "));
        }
        if !recipe.protocols().is_empty() {
            say!("{:<18}protocols: {}", "", recipe.protocols().join(", "));
        }
    }
    Ok(())
}
