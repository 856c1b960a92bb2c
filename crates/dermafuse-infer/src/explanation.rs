use dermafuse_schema::Modality;

use crate::{
    Answer, CamMethod, Contributions, Explainer, HeatMap, ImageBaseline, InferError, Model, Occlusion, Patient,
    PatientError, kinds_of,
};

/// A map that is coarser than this points at nothing; the deepest stage with a finer one is explained.
const LEAST_SIDE: usize = 4;

/// What [`Model::explain`] is to explain, and how.
///
/// ```
/// use dermafuse_infer::{ExplanationRequest, HeatMethod};
///
/// let request = ExplanationRequest { class: Some("MEL".into()), ..ExplanationRequest::default() };
/// assert_eq!((request.method, request.contributions), (HeatMethod::GradCam, true));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExplanationRequest {
    /// The task, by its name; `None` for the first.
    pub task: Option<String>,
    /// The class of the task, by its name; `None` for the most probable one.
    pub class: Option<String>,
    /// How the heat in the images is found.
    pub method: HeatMethod,
    /// Whether to say what each image and each recorded value adds to the answer. The model is asked about every combination of
    /// them, which takes as many forward passes as there are different combinations of images.
    pub contributions: bool,
}

/// How the heat in an image is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeatMethod {
    /// By a class activation map: Grad-CAM.
    #[default]
    GradCam,
    /// By the same with higher derivatives: Grad-CAM++.
    GradCamPlusPlus,
    /// By what the prediction loses when a square is hidden; many forward passes.
    Occlusion,
}

/// What an answer comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    /// The answer itself.
    pub answer: Answer,
    /// The task that the heat explains.
    pub task: String,
    /// The class that it explains.
    pub class: String,
    /// A heat map of each image that the model looked at; none of a model with classifiers on frozen features, which have no gradients.
    pub heat: Vec<ImageHeat>,
    /// What each image and each recorded value adds to the most probable class of every task, if it was asked for.
    pub contributions: Option<Contributions>,
}

/// Where in an image something speaks for a class.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageHeat {
    /// The kind of the image.
    pub image: Modality,
    /// Which of its kind, in the order in which they were given, from 0.
    pub place: usize,
    /// The stage of the backbone whose map is shown, 0 to 3; `None` for occlusion.
    pub stage: Option<usize>,
    /// The heat, in the size in which the network sees the image, which is stretched to a square.
    pub map: HeatMap,
}

impl Default for ExplanationRequest {
    /// The most probable class of the first task, by Grad-CAM, with contributions.
    fn default() -> Self {
        Self { task: None, class: None, method: HeatMethod::default(), contributions: true }
    }
}

impl Model {
    /// The answer for a patient with what it comes from: where in each image, and how much from each image and recorded value.
    ///
    /// The heat explains the logit behind the answer (see [`Bundle::explained_logit`](crate::Bundle::explained_logit)), the
    /// contributions the answer itself, second stage included.
    ///
    /// # Errors
    /// As [`Model::predict`]; a task or class that the model does not have; a network without a feature map of an image; more
    /// inputs than [`MAX_INPUTS`](crate::MAX_INPUTS), where contributions are asked for.
    pub fn explain(&self, patient: &Patient, request: &ExplanationRequest) -> Result<Explanation, PatientError> {
        let bundle = self.bundle();
        let tasks = self.tasks();
        let task = match &request.task {
            None => 0,
            Some(name) => tasks.index_of(name).ok_or_else(|| PatientError::UnknownTask {
                task: name.clone(),
                known: tasks.iter().map(|task| task.name.clone()).collect(),
            })?,
        };
        if let Some(class) = request.class.as_ref().filter(|class| tasks[task].index_of(class).is_none()) {
            let (task, known) = (tasks[task].name.clone(), tasks[task].classes.clone());
            return Err(PatientError::UnknownClass { task, class: class.clone(), known });
        }
        let answer = self.predict(patient)?;
        let class = request.class.clone().unwrap_or_else(|| answer.tasks()[task].top().class.clone());
        let index = tasks[task].index_of(&class).expect("the class is one of the task's");

        let asked = self.asked(patient)?;
        let inputs = self.inputs(&asked)?;
        // Classifiers on frozen features have no gradients: their answers have contributions alone.
        let logit = match bundle.explained_logit(&asked.set, 0, task) {
            Err(InferError::NoGradients) => None,
            logit => Some(logit?.with_class(index)),
        };
        let explainer = Explainer::new(&bundle.network);
        let mut heat = Vec::new();
        for (place, input) in inputs.iter().enumerate() {
            let Some(logit) = &logit else { break };
            // An image that comes again, because there are fewer of its kind, is not explained again.
            let kinds = kinds_of(dermafuse_networks::Network::modalities(&bundle.network));
            for image in kinds.filter(|image| place < asked.images.of(*image).len()) {
                let cam = |method| {
                    let stage = explainer.deepest_stage(input, image, LEAST_SIDE).unwrap_or(0);
                    let map = explainer.class_activation(input, image, stage, logit, method)?.remove(0);
                    Ok::<_, PatientError>((Some(stage), map))
                };
                let (stage, map) = match request.method {
                    HeatMethod::GradCam => cam(CamMethod::GradCam)?,
                    HeatMethod::GradCamPlusPlus => cam(CamMethod::GradCamPlusPlus)?,
                    HeatMethod::Occlusion => {
                        let occlusion = Occlusion::of_size(bundle.description.preprocess.size);
                        (None, explainer.occlusion(input, image, logit, &occlusion)?)
                    }
                };
                heat.push(ImageHeat { image, place, stage, map });
            }
        }
        let contributions = match request.contributions {
            true => Some(bundle.contributions_of(&asked.set, 0, || Ok(inputs), ImageBaseline::default())?),
            false => None,
        };
        Ok(Explanation { answer, task: tasks[task].name.clone(), class, heat, contributions })
    }
}
