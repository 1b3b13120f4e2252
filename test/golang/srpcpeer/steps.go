package main

import (
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"

	"imageserver.test/messages"
)

// steps are what a client can do: functions of the words behind the name of the step.
var steps = map[string]func(*link, []string) (string, error){
	"ping": func(l *link, _ []string) (string, error) { return "", l.ping() },
	"call": func(l *link, words []string) (string, error) {
		_, err := l.begin(words[0])
		return "", err
	},
	"check-image":      checkImage,
	"list-images":      listImages,
	"list-selected":    listSelected,
	"list-directories": listDirectories,
	"make-directory": func(l *link, words []string) (string, error) {
		request := messages.MakeDirectoryRequest{DirectoryName: words[0]}
		return "", l.ask("ImageServer.MakeDirectory", request, &messages.MakeDirectoryResponse{})
	},
	"delete-image": func(l *link, words []string) (string, error) {
		request := messages.DeleteImageRequest{ImageName: words[0]}
		return "", l.ask("ImageServer.DeleteImage", request, &messages.DeleteImageResponse{})
	},
	"add-image":     addImage,
	"get-image":     getImage,
	"add-objects":   addObjects,
	"check-objects": checkObjects,
	"get-objects":   getObjects,
}

func (l *link) take(words []string) (string, error) {
	step, known := steps[words[0]]
	if !known {
		return "", fmt.Errorf("unknown step: %s", words[0])
	}
	return step(l, words[1:])
}

func checkImage(l *link, words []string) (string, error) {
	var response messages.CheckImageResponse
	request := messages.CheckImageRequest{ImageName: words[0]}
	err := l.ask("ImageServer.CheckImage", request, &response)
	return fmt.Sprint(response.ImageExists), err
}

func listImages(l *link, _ []string) (string, error) {
	if _, err := l.begin("ImageServer.ListImages"); err != nil {
		return "", err
	}
	return l.readNames()
}

func listSelected(l *link, words []string) (string, error) {
	c, err := l.begin("ImageServer.ListSelectedImages")
	if err != nil {
		return "", err
	}
	if err := c.send(messages.ListSelectedImagesRequest{DirectoryName: words[0]}); err != nil {
		return "", err
	}
	return l.readNames()
}

// readNames reads lines up to an empty one.
func (l *link) readNames() (string, error) {
	var names []string
	for {
		line, err := l.in.ReadString('\n')
		if err != nil {
			return "", err
		}
		if line == "\n" {
			sort.Strings(names)
			return strings.Join(names, " "), nil
		}
		names = append(names, line[:len(line)-1])
	}
}

func listDirectories(l *link, _ []string) (string, error) {
	c, err := l.begin("ImageServer.ListDirectories")
	if err != nil {
		return "", err
	}
	var names []string
	for {
		var directory messages.Directory
		if err := c.Decode(&directory); err != nil {
			return "", err
		}
		if directory.Name == "" {
			sort.Strings(names)
			return strings.Join(names, " "), nil
		}
		names = append(names, directory.Name)
	}
}

// addImage adds an image with a file for each of the contents, which have to be there.
func addImage(l *link, words []string) (string, error) {
	root := messages.DirectoryInode{Mode: 0o40755}
	table := messages.InodeTable{}
	for i, content := range words[1:] {
		number := uint64(i) + 1
		root.EntryList = append(root.EntryList,
			&messages.DirectoryEntry{Name: content, InodeNumber: number})
		table[number] = &messages.RegularInode{
			Mode: 0o100644, Size: uint64(len(content)), Hash: sha512.Sum512([]byte(content))}
	}
	request := messages.AddImageRequest{ImageName: words[0], Image: &messages.Image{
		Filter:     &messages.Filter{},
		FileSystem: &messages.FileSystem{InodeTable: table, DirectoryInode: root},
	}}
	return "", l.ask("ImageServer.AddImage", request, &messages.AddImageResponse{})
}

func getImage(l *link, words []string) (string, error) {
	var response messages.GetImageResponse
	request := messages.GetImageRequest{ImageName: words[0]}
	if *coder == "JSON" { // inodes cannot be decoded
		request.IgnoreFilesystem = true
	}
	if err := l.ask("ImageServer.GetImage", request, &response); err != nil {
		return "", err
	}
	if response.Image == nil {
		return "none", nil
	}
	if response.Image.FileSystem == nil {
		return "no file system", nil
	}
	var found []string
	for _, entry := range response.Image.FileSystem.EntryList {
		inode, _ := response.Image.FileSystem.InodeTable[entry.InodeNumber].(*messages.RegularInode)
		if inode == nil || inode.Hash != sha512.Sum512([]byte(entry.Name)) {
			return "", fmt.Errorf("not as it was: %s", entry.Name)
		}
		found = append(found, entry.Name)
	}
	return strings.Join(found, " "), nil
}

// addObjects adds the words. What the server has added is read while more is sent.
func addObjects(l *link, words []string) (string, error) {
	c, err := l.begin("ObjectServer.AddObjects")
	if err != nil {
		return "", err
	}
	sent := make(chan error, 1)
	go func() { sent <- c.sendObjects(words) }()
	var added []string
	for _, word := range words {
		var response messages.AddObjectResponse
		if err := c.Decode(&response); err != nil {
			return "", err
		}
		if response.ErrorString != "" {
			return "", errors.New(response.ErrorString)
		}
		if response.Hash != sha512.Sum512([]byte(word)) {
			return "", fmt.Errorf("not the hash of %s: %x", word, response.Hash)
		}
		added = append(added, fmt.Sprint(response.Added))
	}
	return strings.Join(added, " "), <-sent
}

func (c *call) sendObjects(words []string) error {
	for _, word := range words {
		hash := messages.Hash(sha512.Sum512([]byte(word)))
		request := messages.AddObjectRequest{Length: uint64(len(word)), ExpectedHash: &hash}
		if err := c.Encode(request); err != nil {
			return err
		}
		c.out.WriteString(word)
	}
	return c.send(messages.AddObjectRequest{})
}

func hashesOf(words []string) []messages.Hash {
	var hashes []messages.Hash
	for _, word := range words {
		hashes = append(hashes, sha512.Sum512([]byte(word)))
	}
	return hashes
}

func checkObjects(l *link, words []string) (string, error) {
	var response messages.CheckObjectsResponse
	request := messages.CheckObjectsRequest{Hashes: hashesOf(words)}
	err := l.ask("ObjectServer.CheckObjects", request, &response)
	return strings.Trim(fmt.Sprint(response.ObjectSizes), "[]"), err
}

// getObjects gets the objects that are the words, and compares them.
func getObjects(l *link, words []string) (string, error) {
	c, err := l.begin("ObjectServer.GetObjects")
	if err != nil {
		return "", err
	}
	if err := c.send(messages.GetObjectsRequest{Hashes: hashesOf(words)}); err != nil {
		return "", err
	}
	var response messages.GetObjectsResponse
	if err := c.Decode(&response); err != nil {
		return "", err
	}
	if response.ResponseString != "" {
		return "", errors.New(response.ResponseString)
	}
	for i, size := range response.ObjectSizes {
		data := make([]byte, size)
		if _, err := io.ReadFull(c.in, data); err != nil {
			return "", err
		}
		if sum := sha512.Sum512(data); sum != hashesOf(words[i : i+1])[0] {
			return "", fmt.Errorf("not as it was: %s", hex.EncodeToString(sum[:]))
		}
	}
	return fmt.Sprint(len(response.ObjectSizes)), nil
}
