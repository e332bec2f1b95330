//! Tasks, huge pages, network class, RDMA and v2 files by name.

use carrack_oci::runtime::{HugepageLimit, Network, Pids, Rdma};

use super::{Absent, Planner, Target, Write, invalid, unsupported};
use crate::{Controller, Error, Version};

/// Longest value of a `unified` entry, bytes: the kernel takes a page.
const UNIFIED_VALUE_MAX: usize = 4096;

/// Core files that are limits. The others move processes, kill or change the
/// tree, which is not for a configuration.
const UNIFIED_CORE_FILES: [&str; 2] = ["cgroup.max.depth", "cgroup.max.descendants"];

impl Planner<'_> {
    pub(super) fn pids(&mut self, pids: Pids) -> Result<(), Error> {
        self.version(Controller::Pids)?;
        let value = if pids.limit > 0 {
            pids.limit.to_string()
        } else {
            "max".to_owned()
        };
        self.write(Controller::Pids, "pids.max", value);
        Ok(())
    }

    pub(super) fn hugetlb(&mut self, limit: &HugepageLimit) -> Result<(), Error> {
        let size = &limit.page_size;
        let digits = size.trim_end_matches(|letter: char| letter.is_ascii_uppercase());
        let well_formed = !digits.is_empty()
            && digits.len() <= 5
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && ["KB", "MB", "GB"].contains(&&size[digits.len()..]);
        if !well_formed {
            return Err(invalid(
                "hugepageLimits.pageSize",
                "it must be a size such as 2MB or 1GB",
            ));
        }
        let word = match self.version(Controller::Hugetlb)? {
            Version::V1 => "limit_in_bytes",
            Version::V2 => "max",
        };
        self.write(
            Controller::Hugetlb,
            format!("hugetlb.{size}.{word}"),
            limit.limit,
        );
        // Reservations have a limit of their own since Linux 5.7.
        self.push(
            Controller::Hugetlb,
            format!("hugetlb.{size}.rsvd.{word}"),
            limit.limit,
            Absent::Skip,
        );
        Ok(())
    }

    pub(super) fn network(&mut self, network: &Network) -> Result<(), Error> {
        let Some(class) = network.class_id.filter(|class| *class != 0) else {
            return Ok(());
        };
        match self.layout.version_of(Controller::NetCls) {
            Some(Version::V1) => {
                self.write(Controller::NetCls, "net_cls.classid", class);
                Ok(())
            }
            _ => Err(unsupported(
                "the network class",
                "the net_cls controller of cgroup v1 is not mounted",
            )),
        }
    }

    pub(super) fn rdma(&mut self, device: &str, limit: &Rdma) -> Result<(), Error> {
        let permitted = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if device.is_empty() || device.len() > 64 || !device.bytes().all(permitted) {
            return Err(invalid("rdma", "that is no name of an RDMA device"));
        }
        self.version(Controller::Rdma)?;
        let mut line = device.to_owned();
        if let Some(handles) = limit.hca_handles {
            line += &format!(" hca_handle={handles}");
        }
        if let Some(objects) = limit.hca_objects {
            line += &format!(" hca_object={objects}");
        }
        if line.len() > device.len() {
            self.write(Controller::Rdma, "rdma.max", line);
        }
        Ok(())
    }

    pub(super) fn unified(&mut self, file: &str, value: &str) -> Result<(), Error> {
        const WHAT: &str = "unified";
        let Some((controller, rest)) = file.split_once('.') else {
            return Err(invalid(WHAT, format!("{file:?} is no name of a v2 file")));
        };
        let permitted = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        if controller.is_empty()
            || rest.is_empty()
            || file.len() > 128
            || !file.bytes().all(permitted)
        {
            return Err(invalid(WHAT, format!("{file:?} is no name of a v2 file")));
        }
        if value.len() > UNIFIED_VALUE_MAX || value.contains('\0') {
            return Err(invalid(
                WHAT,
                format!("the value for {file} is too long or binary"),
            ));
        }
        if controller == "cgroup" && !UNIFIED_CORE_FILES.contains(&file) {
            return Err(invalid(WHAT, format!("{file} is not a limit")));
        }
        if !self.layout.unified {
            return Err(unsupported(file, "the cgroup v2 hierarchy is not mounted"));
        }
        if let Some(known) = Controller::from_name(controller, Version::V2)
            && self.layout.version_of(known) != Some(Version::V2)
        {
            return Err(unsupported(
                file,
                format!("the {controller} controller is not on cgroup v2"),
            ));
        }
        self.plan.writes.push(Write {
            target: Target::Unified,
            file: file.to_owned(),
            value: value.to_owned(),
            absent: Absent::Refuse,
        });
        Ok(())
    }
}
