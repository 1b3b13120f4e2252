package main

import (
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"sync"

	"imageserver.test/messages"
)

// store keeps what the server is sent.
type store struct {
	sync.Mutex
	directories map[string]bool
	images      map[string]*messages.Image
	objects     map[messages.Hash][]byte
}

func newStore() *store {
	return &store{
		directories: map[string]bool{".": true},
		images:      map[string]*messages.Image{},
		objects:     map[messages.Hash][]byte{},
	}
}

type method func(*store, *call) error

var methods = map[string]method{
	"ImageServer.AddImage":           reply((*store).addImage),
	"ImageServer.CheckDirectory":     reply((*store).checkDirectory),
	"ImageServer.CheckImage":         reply((*store).checkImage),
	"ImageServer.GetImage":           reply((*store).getImage),
	"ImageServer.ListDirectories":    (*store).listDirectories,
	"ImageServer.ListImages":         (*store).listImages,
	"ImageServer.ListSelectedImages": (*store).listSelected,
	"ImageServer.MakeDirectory":      reply((*store).makeDirectory),
	"ObjectServer.AddObjects":        (*store).addObjects,
	"ObjectServer.CheckObjects":      reply((*store).checkObjects),
	"ObjectServer.GetObjects":        (*store).getObjects,
}

// reply makes a method from a function of the request.
func reply[Q, A any](answer func(*store, Q) (A, error)) method {
	return func(s *store, c *call) error {
		var request Q
		if err := c.Decode(&request); err != nil {
			return err
		}
		s.Lock()
		defer s.Unlock()
		response, err := answer(s, request)
		if err != nil {
			_, err := fmt.Fprintln(c.out, err)
			return err
		}
		c.out.WriteByte('\n')
		return c.Encode(response)
	}
}

func (s *store) addImage(request messages.AddImageRequest) (messages.AddImageResponse, error) {
	if s.images[request.ImageName] != nil {
		return messages.AddImageResponse{}, errors.New("image already exists")
	}
	for _, inode := range request.Image.FileSystem.InodeTable {
		regular, is := inode.(*messages.RegularInode)
		if is && regular.Size > 0 && s.objects[regular.Hash] == nil {
			return messages.AddImageResponse{},
				fmt.Errorf("object: %x is not available", regular.Hash)
		}
	}
	s.images[request.ImageName] = request.Image
	return messages.AddImageResponse{}, nil
}

func (s *store) checkDirectory(
	request messages.CheckDirectoryRequest) (messages.CheckDirectoryResponse, error) {
	exists := s.directories[request.DirectoryName]
	return messages.CheckDirectoryResponse{DirectoryExists: exists}, nil
}

func (s *store) checkImage(request messages.CheckImageRequest) (messages.CheckImageResponse, error) {
	return messages.CheckImageResponse{ImageExists: s.images[request.ImageName] != nil}, nil
}

func (s *store) getImage(request messages.GetImageRequest) (messages.GetImageResponse, error) {
	image := s.images[request.ImageName]
	if image != nil && request.IgnoreFilesystem {
		bare := *image
		bare.FileSystem = nil
		image = &bare
	}
	return messages.GetImageResponse{Image: image}, nil
}

func (s *store) makeDirectory(
	request messages.MakeDirectoryRequest) (messages.MakeDirectoryResponse, error) {
	if s.directories[request.DirectoryName] {
		return messages.MakeDirectoryResponse{},
			fmt.Errorf("directory: %s already exists", request.DirectoryName)
	}
	s.directories[request.DirectoryName] = true
	return messages.MakeDirectoryResponse{}, nil
}

func (s *store) checkObjects(
	request messages.CheckObjectsRequest) (messages.CheckObjectsResponse, error) {
	sizes, _ := s.sizesOf(request.Hashes)
	return messages.CheckObjectsResponse{ObjectSizes: sizes}, nil
}

// sizesOf tells the sizes of objects, and what is wrong if some are missing.
func (s *store) sizesOf(hashes []messages.Hash) ([]uint64, string) {
	var sizes []uint64
	problem := ""
	for _, hash := range hashes {
		size := uint64(len(s.objects[hash]))
		if size == 0 {
			problem = fmt.Sprintf("unknown object: %x", hash)
		}
		sizes = append(sizes, size)
	}
	return sizes, problem
}

func (s *store) listDirectories(c *call) error {
	s.Lock()
	defer s.Unlock()
	for name := range s.directories {
		if err := c.Encode(messages.Directory{Name: name}); err != nil {
			return err
		}
	}
	return c.Encode(messages.Directory{})
}

func (s *store) listImages(c *call) error {
	s.Lock()
	defer s.Unlock()
	for name := range s.images {
		fmt.Fprintln(c.out, name)
	}
	return c.out.WriteByte('\n')
}

// listSelected takes no notice of what is to be selected.
func (s *store) listSelected(c *call) error {
	var request messages.ListSelectedImagesRequest
	if err := c.Decode(&request); err != nil {
		return err
	}
	return s.listImages(c)
}

func (s *store) addObjects(c *call) error {
	for {
		var request messages.AddObjectRequest
		if err := c.Decode(&request); err != nil {
			return err
		}
		if request.Length == 0 {
			return nil
		}
		data := make([]byte, request.Length)
		if _, err := io.ReadFull(c.in, data); err != nil {
			return err
		}
		if err := c.Encode(s.addObject(request, data)); err != nil {
			return err
		}
	}
}

func (s *store) addObject(
	request messages.AddObjectRequest, data []byte) messages.AddObjectResponse {
	hash := messages.Hash(sha512.Sum512(data))
	if request.ExpectedHash != nil && *request.ExpectedHash != hash {
		return messages.AddObjectResponse{ErrorString: "hash mismatch", Hash: hash}
	}
	s.Lock()
	defer s.Unlock()
	added := s.objects[hash] == nil
	s.objects[hash] = data
	return messages.AddObjectResponse{Hash: hash, Added: added}
}

func (s *store) getObjects(c *call) error {
	var request messages.GetObjectsRequest
	if err := c.Decode(&request); err != nil {
		return err
	}
	s.Lock()
	defer s.Unlock()
	sizes, problem := s.sizesOf(request.Hashes)
	response := messages.GetObjectsResponse{ResponseString: problem, ObjectSizes: sizes}
	if err := c.Encode(response); err != nil || problem != "" {
		return err
	}
	for _, hash := range request.Hashes {
		c.out.Write(s.objects[hash])
	}
	return nil
}
