//! Image and patient record, fused jointly or joint-individually, cross-validated:
//!
//! ```text
//! cargo run --release --example jif -- --dataset pad-ufes-20 --data pad_ufes_20 --structure jif --fusion mmfa
//! cargo run --release --example jif -- --dataset pad-ufes-20 --data pad_ufes_20 --compare
//! cargo run --release --example jif -- --backbone resnet18_quarter --image-size 64 --epochs 30 --compare --fusion mmfa
//! ```
//!
//! Without data, as in the last line, a synthetic set in the layout of PAD-UFES-20 is drawn, of which it is known what photo and
//! record tell. A run that was stopped continues with `--resume` and ends with the same numbers.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};
use dermafuse::backbones::BackboneKind;
use dermafuse::data::{
    CaseSet, DataError, DataSetKind, EncoderConfig, FoldConfig, FoldGrouping, FoldProtocol, Folds, LoadOptions,
    MetadataEncoder, MetadataRoles, NumericScaling, Split, derm7pt,
};
use dermafuse::eval::published::{PublishedScore, PublishedTable};
use dermafuse::eval::{MeanDeviation, Report};
use dermafuse::fusion::FusionKind;
use dermafuse::networks::ImageView;
use dermafuse::recipes::{
    CrossValidated, CrossValidation, Features, JointFusionGrid, JointFusionTable, JointMethod, JointStructure,
    OneStage, Progress, Recipe, Results, Workplace, majority,
};
use dermafuse::schema::{Predictions, RunFolder, RunMode, write_whole_file};
use dermafuse::synthetic::{self, pad_ufes_20::Inputs};
use dermafuse_examples::{
    ImagesArgument, ProgramResult, Terminal, TrainingArguments, data_set_kind, draw_once, print_table,
    published_or_stratified_split, run, say, say_part,
};

/// Trains and tests methods that join one image with the patient's record, on every fold of a cross-validation, and writes
/// metrics.json, predictions.csv and report.html.
#[derive(Parser)]
struct Arguments {
    /// Data set; its layout is described in docs/datasets.md
    #[arg(long, value_parser = data_set_kind(), default_value = "pad-ufes-20")]
    dataset: DataSetKind,
    /// Folder of the data set, or the file that describes it; without, a synthetic set in the layout of PAD-UFES-20 is drawn
    #[arg(long)]
    data: Option<PathBuf>,
    #[command(flatten)]
    images: ImagesArgument,
    /// Photos of the synthetic set
    #[arg(long, default_value_t = 600)]
    photos: usize,
    /// What of image and record is looked at: image, metadata, jf, jif
    #[arg(long, default_value = "jif", conflicts_with = "compare")]
    structure: JointStructure,
    /// The module that joins them: concat, meta_block, meta_net, mutual_attention, tiled_mutual_attention, mmfa (the default);
    /// several, separated by commas, with --compare (by default the five of the thesis)
    #[arg(long, value_delimiter = ',')]
    fusion: Vec<FusionKind>,
    /// Architecture of the image's backbone; several, separated by commas, with --compare
    #[arg(long, default_value = "resnet50", value_delimiter = ',')]
    backbone: Vec<BackboneKind>,
    /// Which image: clinical or dermoscopic; by default the one that the published protocol uses
    #[arg(long)]
    view: Option<ImageView>,
    /// Compares image alone, record alone, and every fusion module in both structures, with tests of significance
    #[arg(long)]
    compare: bool,
    /// Folds; 1 takes the published split, or one stratified by class
    #[arg(long)]
    folds: Option<usize>,
    /// Repetitions with other seeds: of the folds, or of the training on a published split
    #[arg(long, default_value_t = 1)]
    repeats: u64,
    /// Run only this fold, from 1: to share the work among processes
    #[arg(long)]
    fold: Option<usize>,
    /// A table `id,fold` made elsewhere, instead of folds of our own; cases whose fold is `test` are then tested in every round
    #[arg(long, conflicts_with = "folds")]
    fold_file: Option<PathBuf>,
    /// As published: the fold that selects the epoch is the fold that is reported, and patients may cross folds. Optimistic.
    #[arg(long)]
    paper_protocol: bool,
    /// Leave out metadata columns that are only known after a diagnosis, also where the paper uses them
    #[arg(long)]
    pre_diagnosis: bool,
    /// What becomes of numbers in the record; by default what the published protocol makes of them
    #[arg(long, value_enum)]
    numbers: Option<NumbersName>,
    /// Give each field of the record one input more that says whether it is missing
    #[arg(long)]
    missing_indicators: bool,
    /// Units of each layer over the record, separated by commas; 0 takes the record as it is
    #[arg(long, value_delimiter = ',')]
    record_layers: Option<Vec<usize>>,
    /// Dropout after each of these layers
    #[arg(long, default_value_t = 0.0)]
    record_dropout: f64,
    #[command(flatten)]
    training: TrainingArguments,
    /// Seed of folds, fresh weights and training
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Folder for everything that is written
    #[arg(long, default_value = "runs/jif")]
    out: PathBuf,
    /// Continue the run in the folder
    #[arg(long)]
    resume: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum NumbersName {
    /// As they are recorded
    Raw,
    /// Less their mean, by their deviation
    Standardized,
}

fn main() -> ExitCode {
    run(|| jif(&Arguments::parse()))
}

fn jif(arguments: &Arguments) -> ProgramResult {
    arguments.check()?;
    let device = arguments.training.device.device()?;
    // Several processes may run folds in one folder.
    let mode = RunMode { resume: arguments.resume, shared: arguments.fold.is_some() };
    RunFolder::check(&arguments.out, "jif", mode)?;
    let mut drawn = None;
    let data = match &arguments.data {
        Some(data) => data.clone(),
        None if arguments.dataset == DataSetKind::PadUfes20 => {
            let folder = drawn.insert(RunFolder::open(&arguments.out, "jif", mode)?);
            draw(arguments, folder)?
        }
        None => return Err("give the folder of the data set with --data".into()),
    };
    let (set, encoding) = load(arguments, &data)?;
    say!("{}: {} cases, metadata columns: {}", set.name, set.len(), set.fields.len());
    let rounds = rounds(arguments, &set)?;
    let mut notes = [&rounds.notes[..], &set.notes].concat();
    notes.iter().for_each(|note| say!("  note: {note}"));
    let cache = arguments.training.cache();
    let place = Workplace::on(&device).with_cache(&cache).with_lost_best(arguments.training.lost_best);
    let begin = || -> Result<RunFolder, Box<dyn std::error::Error>> {
        let mut folder = match drawn {
            Some(folder) => folder,
            None => RunFolder::open(&arguments.out, "jif", mode)?,
        };
        folder.begin()?;
        rounds.save(&arguments.out, &set)?;
        Ok(folder)
    };
    let mut study = Study { arguments, set: &set, encoding, splits: rounds.splits.clone(), notes: Vec::new(), place };
    notes.extend(study.select_cases()?);
    study.notes = notes;
    match arguments.compare {
        true => study.compare(begin),
        false => study.single(begin),
    }
}

fn load(arguments: &Arguments, data: &Path) -> Result<(CaseSet, EncoderConfig), Box<dyn std::error::Error>> {
    let looks_at_images = arguments.compare || arguments.structure != JointStructure::Metadata;
    let options = match looks_at_images {
        true => arguments.images.options(),
        false => LoadOptions::metadata_only(),
    };
    let mut set = arguments.dataset.load_with(data, &options)?;
    let mut encoding = arguments.dataset.encoding();
    if arguments.dataset == DataSetKind::Derm7pt {
        // As in the thesis: the diagnosis is the task, the criteria of the checklist are part of the record.
        set = derm7pt::with_checklist_inputs(set, false)?;
    }
    if arguments.pre_diagnosis {
        encoding.roles = MetadataRoles::PreDiagnosis;
    }
    if let Some(numbers) = arguments.numbers {
        encoding.numeric = match numbers {
            NumbersName::Raw => NumericScaling::Raw,
            NumbersName::Standardized => NumericScaling::Standardized,
        };
    }
    encoding.missing_indicators |= arguments.missing_indicators;
    Ok((set, encoding))
}

impl Arguments {
    /// That no option is given which would be ignored.
    fn check(&self) -> Result<(), String> {
        let of_record = self.record_layers.is_some() || self.record_dropout > 0.0;
        if !self.compare && self.structure == JointStructure::Image && of_record {
            return Err("--structure image looks at no record; leave out --record-layers and --record-dropout".into());
        }
        let no_layer = self.record_layers.as_ref().is_some_and(|layers| layers.iter().all(|&units| units == 0));
        match no_layer && self.record_dropout > 0.0 {
            true => {
                Err("--record-dropout follows layers, and --record-layers 0 leaves no layer over the record".into())
            }
            false => Ok(()),
        }
    }
}

/// Writes a synthetic set and says what can be known of it.
fn draw(arguments: &Arguments, folder: &RunFolder) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let Arguments { photos, seed, out, .. } = arguments;
    let config = synthetic::pad_ufes_20::Config { photos: *photos, seed: *seed, ..Default::default() };
    say!("drawing {photos} synthetic photos with a record in {}", out.display());
    let optimum = |inputs| 100.0 * config.optimum(inputs).balanced_accuracy;
    say!(
        "the best possible balanced accuracy: photo {:.1}, record {:.1}, both {:.1} per cent",
        optimum(Inputs::Image),
        optimum(Inputs::Record),
        optimum(Inputs::ImageAndRecord)
    );
    draw_once(folder, "data", &config, |data| synthetic::pad_ufes_20::write(data, &config))
}

/// The rounds, and what must be said of them.
struct Rounds {
    splits: Vec<Split>,
    notes: Vec<String>,
    /// The folds that they are made of, by the name of their file; none if there is one split.
    folds: Vec<(String, Folds)>,
}

impl Rounds {
    fn save(&self, out: &Path, set: &CaseSet) -> ProgramResult {
        if self.folds.is_empty() {
            self.splits[0].save(out.join("split.json"), set)?;
        }
        for (name, folds) in &self.folds {
            folds.save(out.join(name), set)?;
        }
        Ok(())
    }
}

fn rounds(arguments: &Arguments, set: &CaseSet) -> Result<Rounds, Box<dyn std::error::Error>> {
    let count = arguments.folds.unwrap_or(if set.split.is_some() { 1 } else { 5 });
    if arguments.fold_file.is_none() && count == 1 {
        if arguments.paper_protocol {
            return Err("--paper-protocol is about folds; give --folds 2 or more with it".into());
        }
        let split = published_or_stratified_split(set, arguments.seed)?;
        let splits = vec![split; arguments.repeats.max(1) as usize];
        return Ok(Rounds { splits, notes: Vec::new(), folds: Vec::new() });
    }
    let grouping = match arguments.paper_protocol {
        true => FoldGrouping::Ungrouped,
        false => FoldGrouping::Grouped,
    };
    let protocol = match arguments.paper_protocol {
        true => FoldProtocol::TestFoldSelects,
        false => FoldProtocol::NextFoldSelects,
    };
    let (mut splits, mut notes, mut saved) = (Vec::new(), Vec::new(), Vec::new());
    for repeat in 0..arguments.repeats.max(1) {
        let config = FoldConfig { grouping, ..FoldConfig::new(count, arguments.seed + repeat) };
        let folds = match &arguments.fold_file {
            Some(file) => Folds::load(file, set, 0, grouping)?,
            None => Folds::new(set, &config)?,
        };
        let name = if repeat == 0 { "folds.csv".to_owned() } else { format!("folds-{}.csv", repeat + 1) };
        notes = folds.notes();
        let held_out = folds.held_out().len();
        let protocol = if held_out == 0 { protocol } else { FoldProtocol::HeldOutTests };
        if held_out > 0 {
            notes.push(format!("The {held_out} cases that the table of folds marks `test` are tested in every round."));
        }
        splits.extend(folds.splits(protocol)?);
        saved.push((name, folds));
    }
    notes.extend(splits[0].leaks().iter().map(ToString::to_string));
    Ok(Rounds { splits, notes, folds: saved })
}

/// The image that is looked at unless it is said: dermoscopic where there is one.
fn default_view(set: &CaseSet) -> ImageView {
    match set.cases.iter().any(|case| case.dermoscopic.is_some()) {
        true => ImageView::Dermoscopic,
        false => ImageView::Clinical,
    }
}

/// A data set with its rounds.
struct Study<'a> {
    arguments: &'a Arguments,
    set: &'a CaseSet,
    encoding: EncoderConfig,
    splits: Vec<Split>,
    notes: Vec<String>,
    place: Workplace<'a>,
}

impl Study<'_> {
    fn method(&self, structure: JointStructure, fusion: FusionKind, backbone: BackboneKind) -> (JointMethod, OneStage) {
        let Arguments { training, seed, view, record_layers, record_dropout, .. } = self.arguments;
        let method = JointMethod { structure, fusion, backbone, view: view.unwrap_or(default_view(self.set)) };
        let classes = self.set.tasks.class_counts();
        let mut recipe = method.recipe(classes, self.encoding, training.image_size, *seed);
        training.apply(&mut recipe.network);
        if let Some(metadata) = recipe.network.network.metadata_mut() {
            if let Some(layers) = record_layers {
                metadata.layers = layers.iter().copied().filter(|&units| units > 0).collect();
            }
            metadata.dropout = *record_dropout;
        }
        (method, recipe)
    }

    /// The methods that are asked for: one, or every structure with every fusion module of the thesis.
    fn methods(&self) -> Result<Vec<(JointMethod, OneStage)>, Box<dyn std::error::Error>> {
        let Arguments { structure, backbone, fusion, compare, .. } = self.arguments;
        if !compare {
            let [backbone] = backbone[..] else { return Err("several backbones need --compare".into()) };
            let fusion = match &fusion[..] {
                [] => JointMethod::default().fusion,
                [fusion] => fusion.clone(),
                _ => return Err("several fusion modules need --compare".into()),
            };
            return Ok(vec![self.method(*structure, fusion, backbone)]);
        }
        let fusions = match fusion.is_empty() {
            true => FusionKind::COMPARED.iter().map(|name| name.parse()).collect::<Result<Vec<FusionKind>, _>>()?,
            false => fusion.clone(),
        };
        let concat = FusionKind::Concat;
        let mut methods = vec![self.method(JointStructure::Metadata, concat.clone(), backbone[0])];
        for &backbone in backbone {
            methods.push(self.method(JointStructure::Image, concat.clone(), backbone));
            for structure in [JointStructure::Joint, JointStructure::JointIndividual] {
                methods.extend(fusions.iter().map(|fusion| self.method(structure, fusion.clone(), backbone)));
            }
        }
        Ok(methods)
    }

    /// Leaves out cases as the methods ask for, the same for all of them, and says so.
    fn select_cases(&mut self) -> Result<Vec<String>, Box<dyn std::error::Error>> {
        let mut notes = Vec::new();
        for (_, recipe) in self.methods()? {
            for split in &mut self.splits {
                let selected = recipe.select_cases(self.set, split, self.place.device)?;
                *split = selected.split;
                notes.extend(selected.notes);
            }
        }
        notes.sort();
        notes.dedup();
        Ok(notes)
    }

    /// One method on every fold; `begin` gives the folder when every check has passed.
    fn single(&self, begin: impl FnOnce() -> Result<RunFolder, Box<dyn std::error::Error>>) -> ProgramResult {
        let Arguments { out, resume, .. } = self.arguments;
        let (method, recipe) = self.methods()?.remove(0);
        let backbone = method.backbone;
        let validation = CrossValidation { recipe: recipe.clone(), folds: self.splits.clone(), keep_features: true };
        let folder = out.join("folds");
        let place = self.place.in_folder(&folder, *resume);
        let mut terminal = Terminal::default();
        let chosen = self.chosen_fold()?;
        match chosen {
            Some(fold) => validation.check_fold(fold, self.set, place, &mut terminal)?,
            None => validation.check(self.set, place, &mut terminal)?,
        }
        let run = begin()?;
        let config = serde_json::to_vec_pretty(&recipe)?;
        match chosen {
            Some(_) => run.write_once("config.json", &config)?,
            None => write_whole_file(&out.join("config.json"), &config)?,
        }
        if let Some(fold) = chosen {
            validation.run_fold(fold, self.set, place, &mut terminal)?;
            say_fold_is_done(fold);
            return Ok(());
        }
        let folds = validation.run(self.set, place, &mut terminal)?;
        terminal.step("writing the report");

        let cases: Vec<usize> = self.splits.iter().flat_map(|split| split.test.iter().copied()).collect();
        let majorities = self.splits.iter().map(|split| majority(self.set, &split.train, &split.test));
        let majorities = Predictions::concatenate(majorities.collect::<Result<_, _>>()?)?;
        let mut rows = vec![("majority".to_owned(), majorities)];
        rows.extend(rows_of(&method, &folds)?);
        let first = &folds.folds[0];
        let curves: Vec<(String, _)> = (1..).map(|fold| format!("fold {fold}")).zip(folds.folds.iter()).collect();
        let results = Results {
            title: &format!("{method} on {}", backbone.name()),
            set: self.set,
            cases: &cases,
            rows: &rows,
            config: serde_json::to_value(&recipe)?,
            published: None,
            leaky_inputs: self.leaky_inputs()?,
            curves: curves.iter().map(|(name, fold)| (name.as_str(), fold.history.as_slice())).collect(),
            notes: self.notes.clone(),
            failed: &[],
            seen: None,
            features: first.features.as_ref().map(|values| Features { title: "fold 1", of: &first.test, values }),
        };
        let evaluations = results.write(out)?;
        run.finish()?;
        say!("\nin per cent, {} test cases of {} folds\n", cases.len(), folds.folds.len());
        print_table(&evaluations);
        say!("\nbalanced accuracy of the folds: {}", folds_text(&folds)?);
        say!("written to {}: report.html, metrics.json, predictions.csv, config.json, folds", out.display());
        Ok(())
    }

    /// Every structure with every fusion module of the thesis; `begin` as in [`Study::single`].
    fn compare(&self, begin: impl FnOnce() -> Result<RunFolder, Box<dyn std::error::Error>>) -> ProgramResult {
        let Arguments { backbone, out, resume, .. } = self.arguments;
        let grid = JointFusionGrid { methods: self.methods()?, folds: self.splits.clone() };
        let folder = out.join("methods");
        let place = self.place.in_folder(&folder, *resume);
        let mut terminal = Terminal::default();
        let chosen = self.chosen_fold()?;
        grid.check(chosen, self.set, place, &mut terminal)?;
        let run = begin()?;
        if let Some(fold) = chosen {
            grid.run_fold(fold, self.set, place, &mut terminal)?;
            say_fold_is_done(fold);
            return Ok(());
        }
        let table = grid.run(self.set, place, &mut terminal)?;
        write_whole_file(&out.join("table.json"), &serde_json::to_vec_pretty(&table)?)?;

        let published = published(&self.set.name);
        say!("\nbalanced accuracy in per cent, {} folds\n", self.splits.len());
        print_comparison(&table, backbone, published.as_ref());
        let leaky = self.leaky_inputs()?;
        let mut report = Report::new("Image and record: joint and joint-individual fusion")
            .synthetic(self.set.synthetic)
            .note(format!("Data set {}, {} cases.", self.set.name, self.set.len()))
            .leaky_inputs(&leaky.iter().map(String::as_str).collect::<Vec<_>>())
            .config(&serde_json::to_value(&grid.methods[1].1)?);
        let mut written = "report.html, table.json".to_owned();
        if self.splits.len() * backbone.len() > 1 {
            let comparison = table.comparison()?;
            say!("\n{comparison}");
            write_whole_file(&out.join("comparison.json"), &serde_json::to_vec_pretty(&comparison)?)?;
            written += ", comparison.json";
            let published = published.as_ref().map(|table| (table, PublishedScore::BalancedAccuracy));
            report = report.comparison("Balanced accuracy, per cent", &comparison, published);
        } else {
            let rows = table.rows.iter().map(|row| format!("{} {:.1}", row.name, row.balanced_accuracy[0]));
            let rows = rows.collect::<Vec<_>>().join(", ");
            report = report
                .note(format!("Balanced accuracy, per cent: {rows}."))
                .note("One training of each method: no difference can be tested. More --repeats or --folds can.");
        }
        for note in &self.notes {
            report = report.note(note);
        }
        report.write(out.join("report.html"))?;
        run.finish()?;
        say!("written to {}: {written}", out.display());
        Ok(())
    }

    /// The only fold to run, counted from 0, if one is asked for.
    fn chosen_fold(&self) -> Result<Option<usize>, String> {
        match (self.arguments.fold, self.splits.len()) {
            (Some(fold), count) if fold == 0 || fold > count => {
                Err(format!("there are folds 1 to {count}, not {fold}"))
            }
            (fold, _) => Ok(fold.map(|fold| fold - 1)),
        }
    }

    /// The inputs that are only known after a diagnosis.
    fn leaky_inputs(&self) -> Result<Vec<String>, DataError> {
        let cases = self.splits[0].train.iter().map(|&row| &self.set.cases[row]);
        let encoder = MetadataEncoder::fit(&self.set.fields, cases, self.encoding)?;
        Ok(encoder.uses_post_diagnosis().into_iter().map(str::to_owned).collect())
    }
}

fn say_fold_is_done(fold: usize) {
    say!("fold {} is done; when all are, run again with --resume and without --fold", fold + 1);
}

/// The out-of-fold predictions of each branch, and the method's own last.
fn rows_of(
    method: &JointMethod,
    folds: &CrossValidated,
) -> Result<Vec<(String, Predictions)>, Box<dyn std::error::Error>> {
    let branches: Vec<String> = folds.folds[0].test.branches.iter().map(|branch| branch.name.clone()).collect();
    let mut rows = Vec::new();
    if branches.len() > 1 {
        for branch in &branches {
            let name = match branch.as_str() {
                "fusion" => format!("{method}(OFB)"),
                _ => format!("P_{branch}"),
            };
            let of_folds = folds.folds.iter().map(|fold| fold.test.branch(branch)).collect::<Result<_, _>>()?;
            rows.push((name, Predictions::concatenate(of_folds)?));
        }
    }
    let suffix = if branches.len() > 1 { "(All)" } else { "" };
    rows.push((format!("{method}{suffix}"), folds.out_of_fold()?));
    Ok(rows)
}

fn folds_text(folds: &CrossValidated) -> Result<String, Box<dyn std::error::Error>> {
    use dermafuse::eval::Evaluation;
    let scores = folds.folds.iter().map(|fold| {
        let balanced = Evaluation::of(&fold.predictions()?)?.overall.balanced_accuracy;
        Ok(100.0 * balanced.unwrap_or(f64::NAN))
    });
    let scores = scores.collect::<Result<Vec<f64>, Box<dyn std::error::Error>>>()?;
    let mean = MeanDeviation::of(&scores).ok_or("no fold")?;
    Ok(format!("{mean} ({})", scores.iter().map(|score| format!("{score:.1}")).collect::<Vec<_>>().join(", ")))
}

/// The published scores of a data set, by the name of its loader.
fn published(set: &str) -> Option<PublishedTable> {
    Recipe::shipped("jif")?.published_for(set).next().cloned()
}

/// Rows as in the thesis' tables: a column for each backbone, their average, and the published average.
fn print_comparison(table: &JointFusionTable, backbones: &[BackboneKind], published: Option<&PublishedTable>) {
    say_part!("{:18}", "");
    backbones.iter().for_each(|backbone| say_part!("{:>18}", backbone.name()));
    say!("{:>18}{:>14}", "average", published.map_or("", |_| "published"));
    for name in table.names() {
        say_part!("{name:18}");
        for &backbone in backbones {
            let row = table.rows.iter().find(|row| row.name == name && row.method.backbone == backbone);
            let cell = row.and_then(|row| MeanDeviation::of(&row.balanced_accuracy));
            say_part!("{:>18}", cell.map_or_else(String::new, |cell| cell.to_string()));
        }
        let average = table.balanced_accuracy(name).map_or_else(String::new, |average| average.to_string());
        let printed = published.and_then(|table| table.row(name)?.balanced_accuracy);
        let printed = printed.map_or_else(String::new, |printed| printed.to_string());
        say!("{average:>18}{printed:>14}");
    }
}
