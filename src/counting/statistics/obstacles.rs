//! What keeps our role from counting leaves, and what an administrator runs to change that.

/// Names as SQL has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Obstacles {
    /// Schemas that it may not look into.
    pub schemas: Vec<String>,
    /// Leaves that it may not read.
    pub leaves: Vec<String>,
    /// Leaves of which a policy hides rows from it.
    pub policies: Vec<String>,
}

// === impl Obstacles ===

impl Obstacles {
    /// What lets `role` count them; `None` when it may.
    pub fn remedy(&self, role: &str) -> Option<String> {
        let grant = |right: &str, names: &[String]| {
            (!names.is_empty()).then(|| format!("GRANT {right} {} TO {role}", names.join(", ")))
        };
        let policies = (!self.policies.is_empty())
            .then(|| format!("ALTER ROLE {role} BYPASSRLS, since a policy hides rows of {}", self.policies.join(", ")));
        let steps = [grant("USAGE ON SCHEMA", &self.schemas), grant("SELECT ON", &self.leaves), policies];
        let steps: Vec<_> = steps.into_iter().flatten().collect();
        (!steps.is_empty()).then(|| format!("run {}", steps.join("; ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_obstacle_has_its_remedy() {
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(Obstacles::default().remedy("r"), None);
        let all = Obstacles { schemas: names(&["s"]), leaves: names(&["s.a", "s.b"]), policies: names(&["s.a"]) };
        let told = "run GRANT USAGE ON SCHEMA s TO r; GRANT SELECT ON s.a, s.b TO r; \
                    ALTER ROLE r BYPASSRLS, since a policy hides rows of s.a";
        assert_eq!(all.remedy("r").as_deref(), Some(told));
    }
}
