//! `dermafuse recipes`: the recipes that ship.

use clap::Args;
use dermafuse::recipes::Recipe;
use serde_json::json;

use crate::failure::ProgramResult;
use crate::terminal::say;

/// Lists the recipes that ship, with their rows, or prints one as a file to start from.
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
                json!({ "name": name, "paper": about.paper, "summary": about.summary, "rows": rows })
            })
            .collect();
        say!("{}", serde_json::to_string_pretty(&recipes)?);
        return Ok(());
    }
    for (name, recipe) in recipes {
        let about = recipe.about();
        say!("{name:<18}{}\n{:<18}{}", about.summary, "", about.paper);
        if !recipe.rows().is_empty() {
            let rows: Vec<&str> = recipe.rows().iter().map(|row| row.name.as_str()).collect();
            say!("{:<18}rows: {}", "", rows.join(", "));
        }
    }
    Ok(())
}
