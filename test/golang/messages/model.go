package messages

import (
	"encoding/hex"
	"errors"
	"time"
)

// What images are made of. Field names and kinds are the contract with the programs
// that exist; docs/protocol.md of the project describes what they mean.

// Hash names an object.
type Hash [64]byte

// MarshalText gives the form that it has in JSON.
func (h Hash) MarshalText() ([]byte, error) {
	return []byte(hex.EncodeToString(h[:])), nil
}

// UnmarshalText reads that form.
func (h *Hash) UnmarshalText(text []byte) error {
	if len(text) != 2*len(h) {
		return errors.New("not a hash")
	}
	_, err := hex.Decode(h[:], text)
	return err
}

// GenericInode is any of the inodes below, by pointer.
type GenericInode interface{}

// InodeTable holds all inodes but the root directory.
type InodeTable map[uint64]GenericInode

// Tags are free.
type Tags map[string]string

// MatchTags selects images by their tags.
type MatchTags map[string][]string

type DirectoryEntry struct {
	Name        string
	InodeNumber uint64
}

type DirectoryInode struct {
	EntryList     []*DirectoryEntry
	EntriesByName map[string]*DirectoryEntry
	Mode          uint32
	Uid           uint32
	Gid           uint32
}

type RegularInode struct {
	Mode             uint32
	Uid              uint32
	Gid              uint32
	MtimeNanoSeconds int32
	MtimeSeconds     int64
	Size             uint64
	Hash             Hash
}

type ComputedRegularInode struct {
	Mode   uint32
	Uid    uint32
	Gid    uint32
	Source string
}

type SymlinkInode struct {
	Uid     uint32
	Gid     uint32
	Symlink string
}

type SpecialInode struct {
	Mode             uint32
	Uid              uint32
	Gid              uint32
	MtimeNanoSeconds int32
	MtimeSeconds     int64
	Rdev             uint64
}

type FileSystem struct {
	InodeTable       InodeTable
	NumRegularInodes uint64
	TotalDataBytes   uint64
	DirectoryCount   uint64
	DirectoryInode
}

type Filter struct {
	FilterLines []string
}

type Trigger struct {
	MatchLines []string
	Service    string
	SortName   string `json:",omitempty"`
	DoReboot   bool   `json:",omitempty"`
	DoReload   bool   `json:",omitempty"`
	HighImpact bool   `json:",omitempty"`
}

type Triggers struct {
	Triggers []*Trigger
}

type Annotation struct {
	Object *Hash
	URL    string
}

type Package struct {
	Name    string
	Size    uint64
	Version string
}

type Image struct {
	BuildBranch   string
	BuildCommitId string
	BuildGitUrl   string
	CreatedBy     string
	CreatedFor    string
	Filter        *Filter
	Triggers      *Triggers
	ReleaseNotes  *Annotation
	BuildLog      *Annotation
	CreatedOn     time.Time
	OwnerGroups   []string
	OwnerUsers    []string
	Packages      []Package
	SourceImage   string
	Tags          Tags
	ExpiresAt     time.Time
	FileSystem    *FileSystem
}

type ImageArchive struct {
	ImageName string
	Image
}

type DirectoryMetadata struct {
	OwnerGroup string
}

type Directory struct {
	Name     string
	Metadata DirectoryMetadata
}

type ComputedFile struct {
	Filename string
	Source   string
}
