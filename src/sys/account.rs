//! Users and groups, as the system's database has them (getpwnam(3)).

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

/// A user, and what it may act for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// As it was asked for.
    pub name: String,
    /// The user's number.
    pub uid: u32,
    /// The user's own group.
    pub gid: u32,
    /// Every group that it belongs to, its own among them.
    pub groups: Vec<u32>,
}

/// The greatest number that a user or group can have: the one after it stands
/// for "leave it as it is" in setresuid(2).
const ID_MAX: u32 = u32::MAX - 1;

/// What a database entry needs of memory at first, and at most.
const ENTRY_SIZES: (usize, usize) = (1 << 12, 1 << 20);

/// The most groups that a user is looked up with (NGROUPS_MAX, limits.h).
const GROUPS_MAX: usize = 65536;

impl Account {
    /// Looks for a user, and for the group that it is to act for instead of its
    /// own, each by its name or its number.
    ///
    /// # Errors
    ///
    /// A sentence for the operator: there is no such user or group, or the
    /// database does not tell.
    pub fn find(user: &str, group: Option<&str>) -> Result<Self, String> {
        let known = match by_name(user)? {
            Some(known) => Some(known),
            None => match number(user) {
                Some(uid) => by_number(uid)?,
                None => {
                    return Err(format!(
                        "there is no user \"{user}\" on this machine; make one (useradd --system \
                         {user}), or name another"
                    ));
                }
            },
        };
        let gid = group.map(find_group).transpose()?;
        match (known, gid) {
            (Some(known), gid) => {
                let gid = gid.unwrap_or(known.gid);
                Ok(Self {
                    name: user.to_owned(),
                    uid: known.uid,
                    gid,
                    groups: groups_of(&known.login, gid)?,
                })
            }
            // A container need not know the name of the user it runs as.
            (None, Some(gid)) => Ok(Self {
                name: user.to_owned(),
                uid: number(user).unwrap_or(ID_MAX),
                gid,
                groups: vec![gid],
            }),
            (None, None) => Err(format!(
                "user {user} has no entry on this machine that would tell its group; name the \
                 group as well"
            )),
        }
    }
}

/// The user that this process acts as (geteuid(2)).
pub fn effective_uid() -> u32 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::geteuid() }
}

/// The group that this process acts for (getegid(2)).
pub fn effective_gid() -> u32 {
    // SAFETY: it takes nothing and cannot fail.
    unsafe { libc::getegid() }
}

/// What is taken of a user's entry.
struct Known {
    login: CString,
    uid: u32,
    gid: u32,
}

fn by_name(name: &str) -> Result<Option<Known>, String> {
    let Ok(name) = CString::new(name) else {
        return Ok(None);
    };
    entry(|entry, memory, result| {
        // SAFETY: the name ends with a zero; the entry, the memory and the
        // result are live, and the length is the memory's.
        unsafe {
            libc::getpwnam_r(
                name.as_ptr(),
                entry,
                memory.as_mut_ptr().cast(),
                memory.len(),
                result,
            )
        }
    })
}

fn by_number(uid: u32) -> Result<Option<Known>, String> {
    entry(|entry, memory, result| {
        // SAFETY: as in `by_name`.
        unsafe { libc::getpwuid_r(uid, entry, memory.as_mut_ptr().cast(), memory.len(), result) }
    })
}

/// Looks a user up by that call, with as much memory as it takes.
fn entry(
    mut call: impl FnMut(*mut libc::passwd, &mut [u8], *mut *mut libc::passwd) -> libc::c_int,
) -> Result<Option<Known>, String> {
    with_memory("users", |memory| {
        let mut entry = MaybeUninit::<libc::passwd>::uninit();
        let mut result = ptr::null_mut();
        let outcome = call(entry.as_mut_ptr(), memory, &raw mut result);
        if result.is_null() {
            return (outcome, None);
        }
        // SAFETY: the call points `result` to the entry once it has filled it.
        let entry = unsafe { entry.assume_init() };
        // SAFETY: the name lies in `memory`, and ends with a zero.
        let login = unsafe { CStr::from_ptr(entry.pw_name) }.to_owned();
        let known = Known {
            login,
            uid: entry.pw_uid,
            gid: entry.pw_gid,
        };
        (0, Some(known))
    })
}

fn find_group(group: &str) -> Result<u32, String> {
    let name = CString::new(group).unwrap_or_default();
    let found = with_memory("groups", |memory| {
        let mut entry = MaybeUninit::<libc::group>::uninit();
        let mut result = ptr::null_mut();
        // SAFETY: as in `by_name`.
        let outcome = unsafe {
            libc::getgrnam_r(
                name.as_ptr(),
                entry.as_mut_ptr(),
                memory.as_mut_ptr().cast(),
                memory.len(),
                &raw mut result,
            )
        };
        if result.is_null() {
            return (outcome, None);
        }
        // SAFETY: the call points `result` to the entry once it has filled it.
        (0, Some(unsafe { entry.assume_init() }.gr_gid))
    })?;
    found.or_else(|| number(group)).ok_or_else(|| {
        format!(
            "there is no group \"{group}\" on this machine; make one (groupadd --system {group}), \
             or name another"
        )
    })
}

/// Calls again with more memory while there is too little. `None`: no entry.
fn with_memory<T>(
    of: &str,
    mut look: impl FnMut(&mut [u8]) -> (libc::c_int, Option<T>),
) -> Result<Option<T>, String> {
    let (mut size, most) = ENTRY_SIZES;
    loop {
        let (outcome, found) = look(&mut vec![0; size]);
        match outcome {
            0 => return Ok(found),
            libc::EINTR => {}
            libc::ERANGE if size < most => size *= 2,
            // getpwnam(3): what some sources say of an entry that is not there.
            libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM => return Ok(None),
            errno => {
                return Err(format!(
                    "the machine's {of} cannot be looked up: {}",
                    io::Error::from_raw_os_error(errno)
                ));
            }
        }
    }
}

/// Every group of a user, with that one in front.
fn groups_of(login: &CStr, gid: u32) -> Result<Vec<u32>, String> {
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut count = libc::c_int::try_from(groups.len()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the name ends with a zero, and no more than `count` groups
        // are written.
        let outcome =
            unsafe { libc::getgrouplist(login.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
        let count = usize::try_from(count).unwrap_or(0);
        if outcome >= 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        if groups.len() >= GROUPS_MAX {
            return Err(format!(
                "user {} belongs to more than {GROUPS_MAX} groups",
                login.to_string_lossy()
            ));
        }
        let size = count.max(groups.len() * 2).min(GROUPS_MAX);
        groups.resize(size, 0);
    }
}

fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number <= ID_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_by_number() {
        let root = Account::find("root", None).unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert!(root.groups.contains(&0));
        let same = Account::find("0", None).unwrap();
        assert_eq!((same.uid, same.gid, same.name.as_str()), (0, 0, "0"));
        let other = Account::find("root", Some("4242")).unwrap();
        assert_eq!((other.gid, other.groups.contains(&4242)), (4242, true));
    }

    #[test]
    fn a_number_without_an_entry_needs_a_group() {
        let error = Account::find("4200000000", None).unwrap_err();
        assert!(error.contains("name the group"), "{error}");
        let found = Account::find("4200000000", Some("4200000001")).unwrap();
        assert_eq!((found.uid, found.gid), (4_200_000_000, 4_200_000_001));
        assert_eq!(found.groups, [4_200_000_001]);
    }

    #[test]
    fn what_is_not_there_is_named() {
        let error = Account::find("nobody-such", None).unwrap_err();
        assert!(error.contains("no user \"nobody-such\""), "{error}");
        let error = Account::find("root", Some("none-such")).unwrap_err();
        assert!(error.contains("no group \"none-such\""), "{error}");
        // To the system calls it means "as it is", which is root.
        for unchanged in ["4294967295", "-1"] {
            assert!(Account::find(unchanged, Some("0")).is_err());
            assert!(Account::find("root", Some(unchanged)).is_err());
        }
    }
}
