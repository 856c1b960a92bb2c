use dermafuse_backbones::parameter_count;
use dermafuse_ensemble::AnswerPattern;
use dermafuse_networks::{Modalities, Network};

/// The ways in which a network and what comes after it may answer: with all images that it looks at or one of them, with the record
/// or without it. The first is that of a complete case; ways in which the same branches answer are there once.
#[must_use]
pub fn answer_patterns(network: &impl Network) -> Vec<AnswerPattern> {
    let looks_at = network.modalities();
    let mut patterns: Vec<AnswerPattern> = Vec::new();
    for metadata in [true, false] {
        for (clinical, dermoscopic) in [(true, true), (true, false), (false, true)] {
            let (clinical, dermoscopic) = (clinical && looks_at.clinical, dermoscopic && looks_at.dermoscopic);
            let answering = network.answering(Modalities { clinical, dermoscopic, metadata });
            let branches = network.branches().into_iter().zip(answering).filter(|(_, answers)| *answers);
            let branches: Vec<String> = branches.map(|(branch, _)| branch.name.to_owned()).collect();
            let pattern = AnswerPattern { branches, metadata };
            if !pattern.branches.is_empty() && !patterns.contains(&pattern) {
                patterns.push(pattern);
            }
        }
    }
    patterns
}

/// The same beside other models, of which all or single ones have said something of a case. A network without weights answers where
/// none has.
#[must_use]
pub fn answer_patterns_beside(network: &impl Network, outside: &[String]) -> Vec<AnswerPattern> {
    let own = answer_patterns(network);
    let mut said: Vec<Vec<String>> = vec![outside.to_vec()];
    if outside.len() > 1 {
        said.extend(outside.iter().map(|model| vec![model.clone()]));
    }
    let mut patterns = Vec::new();
    for said in said.iter().filter(|said| !said.is_empty()) {
        if parameter_count(network) == 0 {
            patterns.extend([true, false].map(|metadata| AnswerPattern { branches: said.clone(), metadata }));
        } else {
            patterns.extend(own.iter().map(|AnswerPattern { branches, metadata }| AnswerPattern {
                branches: [&branches[..], &said[..]].concat(),
                metadata: *metadata,
            }));
        }
    }
    patterns.extend(own);
    patterns
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use dermafuse_backbones::BackboneKind;
    use dermafuse_networks::{FusionNetConfig, NetworkConfig};

    #[test]
    fn branches_answer_by_what_is_there() {
        let network = NetworkConfig::FusionNet(FusionNetConfig::new(BackboneKind::ResNet18Quarter, vec![2]));
        let patterns = answer_patterns(&network.init_seeded(0, &Device::flex()).unwrap());
        let found: Vec<(String, bool)> =
            patterns.iter().map(|pattern| (pattern.branches.join("+"), pattern.metadata)).collect();
        let [all, clinical, dermoscopic] =
            ["clinical+dermoscopic+fusion", "clinical", "dermoscopic"].map(str::to_owned);
        let with_record = [(all.clone(), true), (clinical.clone(), true), (dermoscopic.clone(), true)];
        assert_eq!(found[..3], with_record);
        assert_eq!(found[3..], [(all, false), (clinical, false), (dermoscopic, false)]);
    }
}
